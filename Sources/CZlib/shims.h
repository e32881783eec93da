// zlib: access logs that are compressed as they are written, and bodies that are compressed and
// decompressed on their way.
#pragma once
#include <string.h>
#include <zlib.h>

// The most bytes that `count` bytes become.
static inline long portico_gzip_bound(unsigned long count) { return (long)compressBound(count) + 32; }

// deflateInit2 and inflateInit2 are macros. Adding 16 to the window's bits asks for gzip's frame.
static inline int portico_deflate_init(z_streamp stream, int level, int window_bits, int memory_level) {
  return deflateInit2(stream, level, Z_DEFLATED, window_bits + 16, memory_level, Z_DEFAULT_STRATEGY);
}

static inline int portico_inflate_init(z_streamp stream) { return inflateInit2(stream, MAX_WBITS + 16); }

// Makes one gzip member of `count` bytes; its length, or -1.
static inline long portico_gzip(
    int level, const void *input, unsigned count, void *output, unsigned room) {
  z_stream stream;
  memset(&stream, 0, sizeof stream);
  if (deflateInit2(&stream, level, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return -1;
  stream.next_in = (Bytef *)input;
  stream.avail_in = count;
  stream.next_out = (Bytef *)output;
  stream.avail_out = room;
  int result = deflate(&stream, Z_FINISH);
  long length = (long)stream.total_out;
  deflateEnd(&stream);
  return result == Z_STREAM_END ? length : -1;
}
