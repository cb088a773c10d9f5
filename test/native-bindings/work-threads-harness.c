// For work-threads-held-up.test.ts: calls that hang, and waits that are brief again and again, must hold up no other work. Says "ok".
#define _GNU_SOURCE
#include "work-threads.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HUNG = 12, BRIEF = 8, LIGHT = 64 };

// Of what Node has, for nobody to call.
void OPENSSL_thread_stop(void) {}
napi_status napi_create_int32(napi_env env, int32_t value, napi_value *result) {
  (void)env, (void)value, (void)result;
  return napi_ok;
}
napi_status napi_throw_error(napi_env env, const char *code, const char *message) {
  (void)env, (void)code, (void)message;
  abort();
}

static sem_t released, hangs;
static atomic_bool is_over;

static void hang(struct work *work) {
  (void)work;
  work_blocks();
  sem_post(&hangs);
  sem_wait(&released);
  work_goes_on();
}

// As one whose peer sends byte by byte: something is always there just in time.
static void wait_briefly(struct work *work) {
  (void)work;
  char byte = 0;
  int quiet[2];
  if (pipe(quiet) != 0) abort();
  while (!atomic_load(&is_over)) {
    struct pollfd wanted = {.fd = quiet[0], .events = POLLIN};
    if (write(quiet[1], &byte, 1) == 1 && work_poll(&wanted, 1000) == 1 && read(quiet[0], &byte, 1) != 1) abort();
  }
  close(quiet[0]);
  close(quiet[1]);
}

static void light(struct work *work) { (void)work; }

static void stop(void *data) { (void)data; }

static void begin(struct work *work, struct owner *owner, void (*run)(struct work *)) {
  *work = (struct work){.owner = owner, .run = run, .is_quick = true};
  if (work_begin(work) != 0) abort();
}

int main(void) {
  static struct work hung[HUNG], brief[BRIEF], lights[LIGHT];
  struct owner patient = NEW_OWNER, swift = NEW_OWNER;
  alarm(20); // what is held up for ever
  sem_init(&released, 0, 0);
  sem_init(&hangs, 0, 0);
  napi_env none = NULL;
  work_open(none, &patient);
  work_open(none, &swift);
  for (size_t round = 0; round < 3; round++) {
    atomic_store(&is_over, false);
    for (size_t n = 0; n < HUNG; n++) begin(&hung[n], &patient, hang);
    for (size_t n = 0; n < HUNG; n++) sem_wait(&hangs);
    for (size_t n = 0; n < BRIEF; n++) begin(&brief[n], &patient, wait_briefly);
    // All threads that it takes are there from the first round on, and wait to be roused.
    usleep(20000);
    for (size_t n = 0; n < (round == 0 ? LIGHT : 1); n++) begin(&lights[n], &swift, light);
    work_await(&swift, stop, NULL);
    work_open(none, &swift);
    for (size_t n = 0; n < HUNG; n++) sem_post(&released);
    atomic_store(&is_over, true);
    work_await(&patient, stop, NULL);
    work_open(none, &patient);
  }
  puts("ok");
  return 0;
}
