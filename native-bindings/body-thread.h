#ifndef LHSM_BODY_THREAD_H
#define LHSM_BODY_THREAD_H

#include <node_api.h>
#include <stdbool.h>

// Adds the functions that body-threads.ts calls. Once for each JavaScript thread.
bool body_define(napi_env env, napi_value exports);

#endif
