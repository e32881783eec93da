// PCRE2 with 8-bit code units: the regular expressions of nginx's language.
#pragma once
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdint.h>
#include <stddef.h>

// Never UTF: a request's bytes needn't be UTF-8, and checking them would cost more than matching.
// Never \C, which is of no use without UTF.
static inline uint32_t portico_regex_options(int caseless) {
  return PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C | (caseless ? PCRE2_CASELESS : 0);
}
static inline int32_t portico_regex_no_match(void) { return PCRE2_ERROR_NOMATCH; }
static inline int32_t portico_regex_jit_stack_limit(void) { return PCRE2_ERROR_JIT_STACKLIMIT; }
static inline uint32_t portico_regex_no_jit(void) { return PCRE2_NO_JIT; }
static inline uint32_t portico_regex_jit_complete(void) { return PCRE2_JIT_COMPLETE; }

static inline uint32_t portico_regex_number(const pcre2_code *code, uint32_t what) {
  uint32_t value = 0;
  return pcre2_pattern_info(code, what, &value) == 0 ? value : 0;
}
static inline uint32_t portico_regex_capture_count(const pcre2_code *code) {
  return portico_regex_number(code, PCRE2_INFO_CAPTURECOUNT);
}
static inline uint32_t portico_regex_name_count(const pcre2_code *code) {
  return portico_regex_number(code, PCRE2_INFO_NAMECOUNT);
}
static inline uint32_t portico_regex_name_size(const pcre2_code *code) {
  return portico_regex_number(code, PCRE2_INFO_NAMEENTRYSIZE);
}
static inline const uint8_t *portico_regex_name_table(const pcre2_code *code) {
  PCRE2_SPTR table = NULL;
  return pcre2_pattern_info(code, PCRE2_INFO_NAMETABLE, &table) == 0 ? table : NULL;
}
