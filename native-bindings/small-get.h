#ifndef LHSM_SMALL_GET_H
#define LHSM_SMALL_GET_H

#include <node_api.h>
#include <stdbool.h>

// Adds the functions that small-get-threads.ts calls. Once for each JavaScript thread.
bool small_get_define(napi_env env, napi_value exports);

#endif
