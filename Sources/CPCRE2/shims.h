// PCRE2 with 8-bit code units: the regular expressions of nginx's language.
#pragma once
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdint.h>
#include <stddef.h>

static inline uint32_t portico_regex_options(int caseless) {
  return PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C | (caseless ? PCRE2_CASELESS : 0);
}
static inline int32_t portico_regex_no_match(void) { return PCRE2_ERROR_NOMATCH; }
static inline size_t portico_regex_unset(void) { return PCRE2_UNSET; }
