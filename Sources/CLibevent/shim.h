// features.h first: event2/event-config.h defines _GNU_SOURCE, which would give fd_set other member names than
// Swift's Glibc module has, and a build error far from here.
#include <features.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/thread.h>
#include <event2/util.h>

#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

// Swift's Glibc module is built without _GNU_SOURCE and does not see these three, nor epoll.
extern int pthread_setname_np(pthread_t thread, const char *name);
extern int sched_getaffinity(pid_t thread, size_t bytes, cpu_set_t *cores);
extern int accept4(int socket, struct sockaddr *address, socklen_t *length, int flags);
