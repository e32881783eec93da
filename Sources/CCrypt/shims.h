// libcrypt for Swift: one hash, in memory of its own. Everything is `static inline`.
#pragma once
#include <crypt.h>
#include <stdlib.h>
#include <string.h>

// Whether `phrase` has the hash `stored` (crypt(5)); may take a second. 0 also for a hash of a kind that
// libcrypt doesn't know. Both are C strings.
static inline int portico_crypt_matches(const char *phrase, const char *stored) {
  struct crypt_data *state = calloc(1, sizeof *state);
  if (!state) return 0;
  const char *made = crypt_r(phrase, stored, state);
  int matches = 0;
  // The length is no secret; which byte differs is.
  if (made && made[0] != '*' && strlen(made) == strlen(stored)) {
    unsigned char difference = 0;
    for (size_t i = 0; made[i]; i++) difference |= (unsigned char)made[i] ^ (unsigned char)stored[i];
    matches = difference == 0;
  }
  explicit_bzero(state, sizeof *state);
  free(state);
  return matches;
}
