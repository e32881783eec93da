// The frame of responses with several ranges.

import HTTP
import Testing

@testable import Engine

struct MultipartTests {
  @Test(arguments: ["text/plain", ""])
  func writesWhatNginxWritesAndKnowsItsLength(type: String) {
    let store = ByteStore()
    let parts = Multipart(mediaType: store.append(type), size: 1_000, number: 42)
    let ranges = [
      ByteRange(start: 0, end: 1), ByteRange(start: 9, end: 110), ByteRange(start: 999, end: 1_000),
    ]
    var body = ""
    for range in ranges {
      let room = store.allocate(parts.partHeadCapacity)
      let head = room.readOnly.prefix(parts.writePartHead(range, into: room)).string
      #expect(parts.partLength(range) == head.utf8.count + range.count)
      body += head + String(repeating: "x", count: range.count)
    }
    let room = store.allocate(Multipart.endCapacity)
    body += room.readOnly.prefix(parts.writeEnd(into: room)).string
    let typeLine = type.isEmpty ? "" : "Content-Type: \(type)\r\n"
    let boundary = "00000000000000000042"
    let heads = ["0-0", "9-109", "999-999"].map {
      "\r\n--\(boundary)\r\n\(typeLine)Content-Range: bytes \($0)/1000\r\n\r\n"
    }
    let middle = String(repeating: "x", count: 101)
    #expect(body == heads[0] + "x" + heads[1] + middle + heads[2] + "x\r\n--\(boundary)--\r\n")
    #expect(parts.totalLength(of: ranges) == body.utf8.count)
  }

  @Test func fitsTheLargestNumbers() {
    let store = ByteStore()
    let parts = Multipart(mediaType: Bytes("a/b"), size: .max, number: .max)
    let room = store.allocate(parts.partHeadCapacity)
    let count = parts.writePartHead(ByteRange(start: .max - 1, end: .max), into: room)
    #expect(parts.partLength(ByteRange(start: .max - 1, end: .max)) == count + 1)
  }

  @Test func namesItsBoundaryInTheContentType() {
    let store = ByteStore()
    let parts = Multipart(mediaType: Bytes("a/b"), size: 1, number: .max)
    let room = store.allocate(Multipart.contentTypeCapacity)
    let count = parts.writeContentType(into: room)
    #expect(
      room.readOnly.prefix(count).string == "multipart/byteranges; boundary=18446744073709551615")
  }
}
