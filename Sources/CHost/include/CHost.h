// Licensed under the Apache License 2.0; see LICENSE.
//
// What the gateway needs from Linux and cannot say in Swift without unsafe code. Nothing here keeps state.
#ifndef CHOST_H
#define CHOST_H

#include "keeper.h"
#include "process.h"
#include "socket_owner.h"

#endif
