// What the C library only declares for those who ask for GNU's extensions, which Swift doesn't.
#pragma once
#include <spawn.h>

int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);
int posix_openpt(int flags);
int unlockpt(int terminal);
char *ptsname(int terminal);
