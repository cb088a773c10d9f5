#ifndef LHSM_GET_THREAD_H
#define LHSM_GET_THREAD_H

#include <node_api.h>
#include <stdbool.h>

// Adds the functions that get-threads.ts calls. Once for each JavaScript thread.
bool get_define(napi_env env, napi_value exports);

#endif
