// The speech engine jumps out of errors only. Here an error ends the run instead.
#pragma once
#include <stdlib.h>

typedef int jmp_buf[1];
#define setjmp(place) (0)
#define longjmp(place, value) abort()
