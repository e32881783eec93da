// The media types of `portico serve`, which reads no file: a stylesheet or a module script that
// says it is text/plain is applied by no browser. They are a part of conf/mime.types: what pages
// are made of.

extension InstantConfiguration {
  /// A "types" block, as conf/mime.types writes it.
  static let mediaTypes = """
    types {
      text/html html htm shtml;
      text/css css;
      text/javascript js mjs cjs;
      text/plain txt text log conf ini;
      text/markdown md markdown;
      text/csv csv;
      text/vtt vtt;
      text/xml xml xsd;
      application/json json map;
      application/manifest+json webmanifest;
      application/atom+xml atom;
      application/rss+xml rss;
      application/xhtml+xml xhtml xht;
      application/wasm wasm;
      application/pdf pdf;
      application/zip zip;
      application/gzip gz tgz;
      image/avif avif;
      image/gif gif;
      image/jpeg jpg jpeg jpe jfif;
      image/png png;
      image/svg+xml svg;
      image/webp webp;
      image/x-icon ico cur;
      font/otf otf;
      font/ttf ttf;
      font/woff woff;
      font/woff2 woff2;
      audio/mpeg mp3;
      audio/ogg ogg oga opus;
      video/mp4 mp4 m4v;
      video/webm webm;
    }

    """
}
