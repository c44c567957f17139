// features.h first: see CLibevent/shim.h.
#include <features.h>
#include <hiredis/hiredis.h>
#include <hiredis/async.h>
