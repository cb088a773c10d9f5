// The N-API addon over crc64-core.c. Loaded by crc64.ts, in any thread; there is no state but the core's tables.
#include <node_api.h>

#include "crc64-core.h"
#include "napi-helpers.h"

#define LARGEST_LENGTH 9007199254740992.0 // 2^53

static int read_crc(napi_env env, napi_value value, uint64_t *crc) {
  bool lossless = false;
  return napi_get_value_bigint_uint64(env, value, crc, &lossless) == napi_ok && lossless;
}

static napi_value make_crc(napi_env env, uint64_t crc) {
  napi_value result = NULL;
  napi_create_bigint_uint64(env, crc, &result); // fails only with an exception pending
  return result;
}

// crc64(bytes: Uint8Array, previous: bigint, implementation: number): bigint
static napi_value crc64(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  size_t argc = 3, length = 0;
  napi_typedarray_type type = napi_int8_array;
  void *bytes = NULL;
  uint64_t previous = 0;
  uint32_t index = 0;
  const struct crc64_implementation *implementations;
  size_t count = crc64_init(&implementations);
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (napi_get_typedarray_info(env, argv[0], &type, &length, &bytes, NULL, NULL) != napi_ok ||
      type != napi_uint8_array)
    return throw_type(env, "crc64: bytes must be a Uint8Array");
  if (!read_crc(env, argv[1], &previous))
    return throw_type(env, "crc64: previous must be a bigint of 64 bits, unsigned");
  if (napi_get_value_uint32(env, argv[2], &index) != napi_ok || index >= count)
    return throw_type(env, "crc64: no such implementation");
  return make_crc(env, implementations[index].update(previous, bytes, length));
}

// combine(crc: bigint, crcAfter: bigint, lengthAfter: number): bigint
static napi_value combine(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  size_t argc = 3;
  uint64_t crc = 0, after = 0;
  double length = 0;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (!read_crc(env, argv[0], &crc) || !read_crc(env, argv[1], &after))
    return throw_type(env, "crc64Combine: a CRC must be a bigint of 64 bits, unsigned");
  if (napi_get_value_double(env, argv[2], &length) != napi_ok || !(length >= 0 && length <= LARGEST_LENGTH) ||
      length != (double)(uint64_t)length)
    return throw_type(env, "crc64Combine: the length must be a whole number from 0 to 2^53");
  return make_crc(env, crc64_combine(crc, after, (uint64_t)length));
}

// { implementations: string[], crc64, combine }; a failed call leaves an exception, which require() throws.
NAPI_MODULE_INIT() {
  const struct crc64_implementation *implementations;
  size_t count = crc64_init(&implementations);
  napi_value names, value;
  if (napi_create_array_with_length(env, count, &names) != napi_ok) return NULL;
  for (size_t n = 0; n < count; n++) {
    if (napi_create_string_utf8(env, implementations[n].name, NAPI_AUTO_LENGTH, &value) != napi_ok ||
        napi_set_element(env, names, (uint32_t)n, value) != napi_ok)
      return NULL;
  }
  const napi_property_descriptor properties[] = {
      {"implementations", NULL, NULL, NULL, NULL, names, napi_enumerable, NULL},
      {"crc64", NULL, crc64, NULL, NULL, NULL, napi_enumerable, NULL},
      {"combine", NULL, combine, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties);
  return exports;
}
