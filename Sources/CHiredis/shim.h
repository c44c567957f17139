// features.h first: see CLibevent/shim.h.
#include <features.h>
#include <hiredis/hiredis.h>
#include <hiredis/async.h>

// Exported by the library and declared in no header: runs the callbacks of what was fed to the reader.
extern void redisProcessCallbacks(redisAsyncContext *context);
