// What the functions of our addons have in common.
#ifndef LHSM_NAPI_HELPERS_H
#define LHSM_NAPI_HELPERS_H

#include <node_api.h>
#include <stdio.h>
#include <string.h>

// Throws a TypeError.
static inline napi_value throw_type(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return NULL;
}

// Throws an Error with the errno's number as its code.
static inline napi_value throw_errno(napi_env env, const char *what, int error) {
  char code[16], message[128];
  snprintf(code, sizeof code, "%d", error);
  snprintf(message, sizeof message, "%s: %s", what, strerror(error));
  napi_throw_error(env, code, message);
  return NULL;
}

// What the function was defined with.
static inline void *function_data(napi_env env, napi_callback_info info) {
  void *data = NULL;
  napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
  return data;
}

#endif
