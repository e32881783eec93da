// What `portico -T` prints: all configuration files, as nginx prints them.
//
// The command line calls this after a test that found no errors. Secrets that an `env_file` holds
// never appear.

extension SourceMap {
  /// Each configuration file once, in order of first reading, under a line with its path. `-g`
  /// options and the files that `env_file` names are left out.
  public func dump() -> [UInt8] {
    var output: [UInt8] = []
    for file in files where file.kind == .configuration {
      output += "# configuration file \(file.path):\n".utf8
      output += file.bytes
      output.append(ASCII.lineFeed)
    }
    return output
  }
}
