// What a worker process is started with: its limits, priority, folder and environment, as the
// kernel shows them.

import Foundation
import Testing

@Suite struct WorkerSettingsTests {
  private static let http = "http { server { listen 127.0.0.1:%%PORT_0%%; return 204; } }"

  private func content(_ path: String) throws -> String {
    try String(contentsOfFile: path, encoding: .utf8)
  }

  @Test func aWorkerProcessGetsWhatTheConfigurationSays() async throws {
    let door = try await Portico.start(
      config: """
        worker_priority 7; worker_rlimit_core 3m; worker_rlimit_nofile 777; working_directory %%DIR%%;
        env SUITE_NEW=a=b; env SUITE_OLD=new; env SUITE_KEPT; debug_points abort;
        \(Self.http)
        """, environment: ["SUITE_OLD": "old", "SUITE_KEPT": "kept"])
    let worker = "/proc/\(try door.workerPid)"
    for thread in try FileManager.default.contentsOfDirectory(atPath: worker + "/task") {
      // Behind the name: state is field 3, nice field 19 (proc(5)).
      let fields = try content("\(worker)/task/\(thread)/stat").split(separator: ")").last?.split(
        separator: " ")
      #expect(fields?[16] == "7")
    }
    let limits = try content(worker + "/limits").split(separator: "\n")
    #expect(limits.contains { $0.hasPrefix("Max core file size") && $0.contains(" 3145728 ") })
    #expect(limits.contains { $0.hasPrefix("Max open files") && $0.contains(" 777 ") })
    let folder = try FileManager.default.destinationOfSymbolicLink(atPath: worker + "/cwd")
    #expect(folder + "/" == door.site.folder)
    let environment = try content(worker + "/environ").split(separator: "\0")
    let own = environment.filter { $0.hasPrefix("SUITE_") }.sorted()
    #expect(own == ["SUITE_KEPT=kept", "SUITE_NEW=a=b", "SUITE_OLD=new"])
    try door.stop()
  }

  /// What a process is started with can't change under it: another one takes its place.
  @Test func aReloadThatChangesLimitsStartsAnotherProcess() async throws {
    func config(_ settings: String) -> String { "\(settings) \(Self.http)" }
    let door = try await Portico.start(config: config("worker_rlimit_nofile 777; env SUITE_A=1;"))
    let first = try door.workerPid
    #expect(
      try door.reload(config: config("worker_rlimit_nofile 888; env SUITE_A=2;")).code == 0)
    try waitUntil("the end of the first worker process") { kill(first, 0) != 0 }
    let second = try door.workerPid
    let limits = try content("/proc/\(second)/limits").split(separator: "\n")
    #expect(limits.contains { $0.hasPrefix("Max open files") && $0.contains(" 888 ") })
    #expect(try content("/proc/\(second)/environ").split(separator: "\0").contains("SUITE_A=2"))
    #expect(try door.get().status == 204)
    #expect(try door.reload(config: config("worker_rlimit_nofile 888; env SUITE_A=2; ")).code == 0)
    #expect(try door.workerPid == second)
    try door.stop()
  }

  @Test(arguments: [
    ("worker_priority 21;", "\"worker_priority\" must be between -20 and 20"),
    ("worker_rlimit_core x;", "worker_rlimit_core"),
    ("env =x;", "\"env\" needs a name before \"=\""),
    ("working_directory a b;", "\"working_directory\" takes 1 argument"),
  ])
  func refusesWhatMakesNoSense(directive: String, message: String) throws {
    let result = try Portico.run(Site(config: directive + Self.http), ["-t"])
    #expect(result.code == 1 && result.standardError.contains(message))
  }

  @Test func aFolderThatIsNotThereEndsTheStart() throws {
    let site = try Site(config: "working_directory %%DIR%%/none; \(Self.http)")
    let result = try Portico.run(site, [])
    #expect(result.code != 0)
    #expect(site.text("error.log").contains("chdir(\"\(site.folder)none\") failed"))
  }

  /// A limit that can't be had is said, and as much as there is is served with.
  @Test func aLimitThatIsTooHighIsNoEnd() async throws {
    let door = try await Portico.start(
      config: "worker_rlimit_nofile 1073741824; \(Self.http)")
    #expect(try door.get().status == 204)
    #expect(door.errorLog.contains("[alert]"))
    #expect(door.errorLog.contains("setrlimit(RLIMIT_NOFILE, 1073741824) failed"))
    try door.stop()
  }
}
