// Paths, escapes, cookies, arguments: the same answers as nginx.

import HTTP
import Testing

@Suite struct TargetPathTests {
  private func normalize(_ path: String, mergeSlashes: Bool = true) -> Result<String, TargetError> {
    var failure: TargetError?
    let text = path.withBytes { bytes in
      written(max(bytes.count, 1)) { out in
        do throws(TargetError) {
          return try TargetPath.normalize(bytes, mergeSlashes: mergeSlashes, into: out)
        } catch {
          failure = error
          return 0
        }
      }
    }
    if let failure { return .failure(failure) }
    return .success(text)
  }

  @Test(arguments: [
    ("", "/"), ("/", "/"), ("/a", "/a"), ("/a/b/", "/a/b/"), ("//", "/"), ("/a///b", "/a/b"),
    ("/a/./b", "/a/b"), ("/a/.", "/a/"), ("/.", "/"), ("/./", "/"), ("/a/../b", "/b"),
    ("/a/b/..", "/a/"), ("/a/b/../", "/a/"), ("/a/..", "/"), ("/a//../b", "/b"),
    ("/a/b/../../c", "/c"), ("/...", "/..."), ("/.a", "/.a"), ("/..a", "/..a"), ("/a.", "/a."),
    ("/a..", "/a.."), ("/a/.../b", "/a/.../b"), ("/%61", "/a"), ("/%2e", "/"),
    ("/a/%2E%2e/b", "/b"),
    ("/a%2fb", "/a/b"), ("/a/%2f/b", "/a/b"), ("/a%2F..%2fb", "/b"), ("/%25", "/%"),
    ("/%252e", "/%2e"), ("/%3f", "/?"), ("/%23a", "/#a"), ("/a%20b+c", "/a b+c"),
    ("/%02", "/\u{02}"),
    ("/%e4%FF", "/\u{E4}\u{FF}"), ("/a/..;/b", "/a/..;/b"), ("/a\\..\\b", "/a\\..\\b"),
    ("/%5c", "/\\"), ("/a/.%2e/", "/"),
  ])
  func normalizes(_ path: String, _ expected: String) throws {
    #expect(try normalize(path).get() == expected)
    if !path.withBytes({ TargetPath.needsNormalizing($0) }) { #expect(path == expected) }
  }

  @Test(arguments: [
    ("//", "//"), ("//a//b", "//a//b"), ("/a//../b", "/a/b"), ("/%2f/a", "///a"),
    ("/a/.//", "/a//"),
  ])
  func keepsSlashesWhenAsked(_ path: String, _ expected: String) throws {
    #expect(try normalize(path, mergeSlashes: false).get() == expected)
  }

  @Test(arguments: [
    ("/..", TargetError.aboveRoot), ("/../", .aboveRoot), ("/a/../..", .aboveRoot),
    ("/%2e%2e/", .aboveRoot), ("/a/../../b", .aboveRoot), ("/%", .invalidEscape),
    ("/%1", .invalidEscape), ("/%1g", .invalidEscape), ("/%g1", .invalidEscape),
    ("/%%41", .invalidEscape), ("/%u0041", .invalidEscape), ("/%00", .nul), ("/a%00b", .nul),
    ("a", .notAbsolute), ("%2fa", .notAbsolute),
  ])
  func refuses(_ path: String, _ error: TargetError) {
    #expect(throws: error) { try normalize(path).get() }
    #expect(path.withBytes { TargetPath.needsNormalizing($0) })
    #expect(error.status == 400)
  }

  @Test func ordinaryPathsNeedNothing() {
    for path in ["/", "/a", "/a/b.html", "/a.b/c-d_e~f", "/a/b/"] {
      #expect(!path.withBytes { TargetPath.needsNormalizing($0) })
    }
  }
}

@Suite struct EscapeTests {
  /// The printable characters that each kind escapes, as documented.
  @Test(arguments: [
    (EscapeKind.uri, " \"#%<>?\\^`{|}"), (.args, " \"#%&+;<>?\\^`{|}"),
    (.uriComponent, " !\"#$%&'()*+,/:;<=>?@[\\]^`{|}"), (.html, " \"#%'<>\\^`{|}"),
    (.refresh, " \"'<>\\^`{|~"),
  ])
  func escapesItsCharactersAndNoOthers(_ kind: EscapeKind, _ escaped: String) {
    for byte in UInt8.min...UInt8.max {
      let isEscaped = byte < 0x20 || byte >= 0x7F || escaped.latin1.contains(byte)
      let hex = String(byte, radix: 16, uppercase: true)
      let expected =
        isEscaped
        ? "%" + (hex.count == 1 ? "0" : "") + hex : String(Character(Unicode.Scalar(byte)))
      [byte].withBytes { bytes in
        #expect(Escape.count(bytes, kind: kind) == (isEscaped ? 1 : 0))
        #expect(written(3) { Escape.write(bytes, kind: kind, into: $0) } == expected)
      }
    }
  }

  @Test(arguments: [
    ("a%20b%2Fc", "a b/c", "a b/c", "a%20b/c"), ("%3f%41?%41", "?A?A", "?%41?%41", "?%41?%41"),
    ("%zz%1z%4", "zz", "zz", "zz"), ("%%41%", "%41", "%41", "%41"),
    ("%e4%25", "\u{E4}%", "\u{E4}%", "%e4%25"),
    ("a?%20", "a? ", "a?%20", "a?%20"),
  ])
  func unescapes(_ text: String, _ all: String, _ path: String, _ redirect: String) {
    text.withBytes { bytes in
      #expect(written(bytes.count) { Escape.unescape(bytes, into: $0) } == all)
      #expect(written(bytes.count) { Escape.unescape(bytes, kind: .path, into: $0) } == path)
      #expect(
        written(bytes.count) { Escape.unescape(bytes, kind: .redirect, into: $0) } == redirect)
    }
  }

  @Test func unescapesInPlace() {
    var memory = "a%2Fb%20c".latin1
    let count = memory.withUnsafeMutableBufferPointer { buffer in
      let view = unsafe MutableBytes(base: buffer.baseAddress!, count: buffer.count)
      return Escape.unescape(view.readOnly, into: view)
    }
    #expect(Array(memory.prefix(count)) == "a/b c".latin1)
  }
}

@Suite struct ParametersTests {
  @Test(
    arguments: [
      ("a=1", "a", "1"), ("a=1; b=2", "b", "2"), ("A=1;b=2", "a", "1"), ("a=1; a=2", "a", "1"),
      ("ab=1; b=2", "b", "2"), ("a", "a", nil), ("a=", "a", ""), ("a=b=c", "a", "b=c"),
      ("a = \"x y\" ; c", "a", "\"x y\""), ("", "a", nil), ("x=a=1", "a", nil),
    ] as [(String, String, String?)])
  func findsCookies(_ field: String, _ name: String, _ value: String?) {
    field.withBytes { field in
      name.withBytes { #expect(Cookie.value(of: $0, in: field)?.string == value) }
    }
  }

  @Test(
    arguments: [
      ("a=1", "a", "1"), ("a=1&b=2", "b", "2"), ("A=1", "a", "1"), ("ab=1&b=2", "b", "2"),
      ("a&a=2", "a", "2"), ("a=", "a", ""), ("a=%20&b", "a", "%20"), ("b", "b", nil),
      ("", "a", nil),
      ("x=a=1", "a", nil), ("&&a=1", "a", "1"),
    ] as [(String, String, String?)])
  func findsArguments(_ query: String, _ name: String, _ value: String?) {
    query.withBytes { query in
      name.withBytes { #expect(QueryArguments.value(of: $0, in: query)?.string == value) }
    }
  }
}
