// Licensed under the Apache License 2.0; see LICENSE.

import CFuzzer
import Glibc
import MCPWire

/// One input. A small depth limit lets short inputs reach it; a broken promise stops the process, and libFuzzer keeps
/// the input.
func tryOne(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    let bytes = Array(UnsafeBufferPointer(start: data, count: size))
    if let fault = WireInvariants.fault(bytes, limits: WireLimits(bytesMax: 1 << 16, depthMax: 12)) {
        fatalError(fault)
    }
    if let fault = WireInvariants.streamFault(bytes, eventBytesMax: 64) { fatalError(fault) }
    return 0
}

var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> = CommandLine.unsafeArgv
exit(LLVMFuzzerRunDriver(&count, &arguments, { tryOne($0, $1) }))
