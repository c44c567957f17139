// features.h first: event2/event-config.h defines _GNU_SOURCE, which would give fd_set other member names than
// Swift's Glibc module has, and a build error far from here.
#include <features.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/thread.h>
#include <event2/util.h>
