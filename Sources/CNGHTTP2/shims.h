// libnghttp2: HTTP/2 frames and HPACK, nothing else; sockets, flow of bytes and limits are ours.
#pragma once
#include <nghttp2/nghttp2.h>
