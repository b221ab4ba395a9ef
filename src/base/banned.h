/* banned: functions that this project does not call. Included by force into every file (meson). */
#pragma once
#ifndef SHOAL_ALLOW_BANNED
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok atoi atol atoll
#endif
