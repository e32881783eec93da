// How files are opened and kept open: what `disable_symlinks` and the `open_file_cache_…`
// directives of a location say, for `OpenFileCache`.

/// What a location says about a cache that it may share with others.
struct OpenFilePolicy {
  /// open_file_cache_valid
  var valid: Milliseconds = 60_000
  /// open_file_cache_min_uses
  var minUses = 1
  /// open_file_cache_errors
  var keepsErrors = false
  /// disable_symlinks
  var links = SymlinkPolicy()
}
