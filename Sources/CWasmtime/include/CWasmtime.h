// Licensed under the Apache License 2.0; see LICENSE.

#ifndef CWASMTIME_H
#define CWASMTIME_H

#include "cwasm_guest.h"
#include "cwasm_host.h"
#include "wasmtime_api.h"

#endif
