// Directives that tune what works another way here: accepted, so that configurations which have
// them run unchanged, and without effect.

extension Row {
  static let tuningRows: [Row] = [
    .noEffect(
      "pcre_jit", .main, .flag,
      "Accepted for nginx's sake: regular expressions are always compiled."),
    .noEffect(
      "lock_file", .main, .anything(1...1), "Accepted for nginx's sake: accepting needs no lock."),
    .noEffect(
      "timer_resolution", .main, .time,
      "Accepted for nginx's sake: the clock is read once a turn."),
    .noEffect(
      "worker_cpu_affinity", .main, .anything(1...64),
      "Accepted for nginx's sake: the kernel places threads."),
    .noEffect(
      "thread_pool", .main, .anything(1...3),
      "Accepted for nginx's sake: files are sent by the kernel."
    ).repeatable(),
    .noEffect(
      "worker_aio_requests", .events, .number,
      "Accepted for nginx's sake: files are sent by the kernel."),
    .noEffect(
      "connection_pool_size", .httpServer, .size,
      "Accepted for nginx's sake: memory comes from pools of buffers."),
    .noEffect(
      "request_pool_size", .httpServer, .size,
      "Accepted for nginx's sake: memory comes from pools of buffers."),
    .noEffect(
      "aio", .httpServerLocation, .words(["on", "off", "threads", "threads="]),
      "Accepted for nginx's sake: files are sent by the kernel."),
    .noEffect(
      "aio_write", .httpServerLocation, .flag,
      "Accepted for nginx's sake: temporary files are written at once."),
    .noEffect(
      "directio", .httpServerLocation, .sizeOrOff,
      "Accepted for nginx's sake: files go through the page cache."),
    .noEffect(
      "directio_alignment", .httpServerLocation, .size,
      "Accepted for nginx's sake: files go through the page cache."),
    .noEffect(
      "read_ahead", .httpServerLocation, .size, "Accepted for nginx's sake: the kernel reads ahead."
    ),
    .noEffect(
      "sendfile_max_chunk", .httpServerLocation, .size,
      "Accepted for nginx's sake: what one turn sends is bounded anyway."),
    .noEffect(
      "output_buffers", .httpServerLocation, .buffers,
      "Accepted for nginx's sake: files are sent by the kernel."),
    .noEffect(
      "postpone_output", .httpServerLocation, .size,
      "Accepted for nginx's sake: what belongs together is sent together."),
    .noEffect(
      "send_lowat", .httpServerLocation, .size,
      "Accepted for nginx's sake: it has no effect on Linux in nginx either."),
    .noEffect(
      "proxy_send_lowat", .httpServerLocation, .size,
      "Accepted for nginx's sake: it has no effect on Linux in nginx either."),
    .noEffect(
      "proxy_headers_hash_max_size", .httpServerLocation, .number,
      "Accepted for nginx's sake: tables grow as needed."),
    .noEffect(
      "proxy_headers_hash_bucket_size", .httpServerLocation, .number,
      "Accepted for nginx's sake: tables grow as needed."),
    .noEffect(
      "msie_padding", .httpServerLocation, .flag,
      "Accepted for nginx's sake: the browser that it is about is gone."),
    .noEffect(
      "msie_refresh", .httpServerLocation, .flag,
      "Accepted for nginx's sake: the browser that it is about is gone."),
  ]
}
