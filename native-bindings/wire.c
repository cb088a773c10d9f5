// The N-API addon of the transfer plane's wire: TLS sessions, and the threads that take bodies and carry out GETs. Loaded by
// wire-addon.ts.
#include <node_api.h>

#include "body-thread.h"
#include "get-thread.h"
#include "route.h"
#include "tls-session.h"

NAPI_MODULE_INIT() {
  return tls_define(env, exports) && body_define(env, exports) && get_define(env, exports) && route_define(env, exports)
             ? exports
             : NULL;
}
