// Blobs that exist by definition: name, content and metadata are computed from a number.
#ifndef SERIES_H
#define SERIES_H

#include "blobs.h"

// Adds the series NAME:COUNT:BYTES[:PER_DIRECTORY]: blobs NAME/0000000, …; with PER_DIRECTORY each such number of them
// is in a directory of its own, NAME/00000/0000000. False when the text is wrong.
bool series_add(const char *text);
// Adds KEY=VALUE to the metadata of every blob. False when the text is wrong.
bool series_add_meta(const char *text);
// Each blob shall have its CRC64 as metadata KEY: Base64 of its eight bytes, lowest first, as Azure has it.
void series_add_crc64_meta(const char *key);
void series_ready(void);

// As those of blobs.h, and as safe.
bool series_find(const char *name, struct blob *blob);
bool series_next(const char *from, char name[NAME_BYTES]);
bool series_delete(const char *name);
void series_reset(void);

#endif
