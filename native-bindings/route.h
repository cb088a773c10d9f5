// Where GETs of one origin go, as JavaScript sees it: route.c, over link.c.
#ifndef LHSM_ROUTE_H
#define LHSM_ROUTE_H

#include <node_api.h>
#include <stdbool.h>

#include "link.h"

// The route in a value, or NULL with an exception.
struct route *route_of(napi_env env, napi_value value);

// Adds the functions that get-threads.ts calls for its routes.
bool route_define(napi_env env, napi_value exports);

#endif
