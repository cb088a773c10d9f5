#include "route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "napi-helpers.h"

static void finalize_route(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  route_drop(data);
}

// openRoute(stallMs: number, context: External | undefined, host: string, isAddress: boolean): External
static napi_value open_route(napi_env env, napi_callback_info info) {
  napi_value argv[4], result = NULL;
  size_t argc = 4;
  napi_valuetype type = napi_undefined;
  double stall_ms = 0;
  struct tls_peer peer;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (napi_get_value_double(env, argv[0], &stall_ms) != napi_ok || !(stall_ms >= 0))
    return throw_type(env, "openRoute: stallMs must be a number");
  if (napi_typeof(env, argv[1], &type) != napi_ok) return throw_type(env, "openRoute: a TLS context or undefined");
  const bool has_tls = type != napi_undefined;
  if (has_tls && !tls_peer_of(env, argv + 1, &peer)) return NULL;
  struct route *route = route_new(stall_ms < INT_MAX ? (int)stall_ms : INT_MAX, has_tls ? &peer : NULL);
  if (!route) return throw_errno(env, "openRoute", ENOMEM);
  if (napi_create_external(env, route, finalize_route, NULL, &result) == napi_ok) return result;
  route_drop(route);
  return NULL;
}

struct route *route_of(napi_env env, napi_value value) {
  void *route = NULL;
  if (napi_get_value_external(env, value, &route) == napi_ok && route) return route;
  throw_type(env, "a route is needed");
  return NULL;
}

static bool read_address(const char *text, uint16_t port, struct sockaddr_storage *address) {
  struct sockaddr_in *four = (struct sockaddr_in *)address;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
  memset(address, 0, sizeof *address);
  if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    return true;
  }
  if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1) return false;
  six->sin6_family = AF_INET6;
  six->sin6_port = htons(port);
  return true;
}

// setAddresses(route: External, port: number, addresses: string[]): in the order in which they are tried, sixteen at most
static napi_value set_addresses(napi_env env, napi_callback_info info) {
  napi_value argv[3];
  size_t argc = 3;
  uint32_t port = 0, count = 0;
  struct sockaddr_storage addresses[MAX_ADDRESSES];
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct route *route = route_of(env, argv[0]);
  if (!route) return NULL;
  if (napi_get_value_uint32(env, argv[1], &port) != napi_ok || port > UINT16_MAX ||
      napi_get_array_length(env, argv[2], &count) != napi_ok)
    return throw_type(env, "setAddresses: a port and an array are needed");
  if (count > MAX_ADDRESSES) count = MAX_ADDRESSES;
  for (uint32_t n = 0; n < count; n++) {
    napi_value each;
    char text[64];
    size_t length = 0;
    if (napi_get_element(env, argv[2], n, &each) != napi_ok ||
        napi_get_value_string_utf8(env, each, text, sizeof text, &length) != napi_ok ||
        !read_address(text, (uint16_t)port, &addresses[n]))
      return throw_type(env, "setAddresses: not an address");
  }
  pthread_mutex_lock(&route->lock);
  memcpy(route->addresses, addresses, count * sizeof *addresses);
  route->address_count = count;
  pthread_mutex_unlock(&route->lock);
  return NULL;
}

// sweepRoute(route: External, idleS: number): closes connections that nobody has used for so long, in seconds; with 0 all, and
// those that are in use when they are given back
static napi_value sweep_route(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  size_t argc = 2;
  uint32_t idle_s = 0;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  struct route *route = route_of(env, argv[0]);
  if (!route) return NULL;
  if (napi_get_value_uint32(env, argv[1], &idle_s) != napi_ok) return throw_type(env, "sweepRoute: seconds are needed");
  route_sweep(route, idle_s);
  return NULL;
}

bool route_define(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
      {"openRoute", NULL, open_route, NULL, NULL, NULL, napi_enumerable, NULL},
      {"setAddresses", NULL, set_addresses, NULL, NULL, NULL, napi_enumerable, NULL},
      {"sweepRoute", NULL, sweep_route, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  return napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) == napi_ok;
}
