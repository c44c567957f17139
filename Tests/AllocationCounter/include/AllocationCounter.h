// Counts the allocations of the calling thread, in whatever library they happen.
#ifndef ALLOCATION_COUNTER_H
#define ALLOCATION_COUNTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Whether allocations are counted: not under a sanitizer, which brings an allocator of its own.
bool allocations_are_counted(void);

/// How often this thread has asked for memory so far.
uint64_t allocation_count(void);

/// What all threads of the process hold, in bytes.
size_t allocated_bytes(void);

/// How many bytes an allocation has, which may be more than were asked for.
size_t allocation_size(void *memory);

#endif
