// Licensed under the Apache License 2.0; see LICENSE.

// Version 1 of the hyper-mcp interface: two functions. Compile this file or HyperMCP2.swift into a module, not both.

@_expose(wasm, "describe")
@_cdecl("describe")
func describe() -> Int32 {
    respond { _ throws(ToolError) in listing() }
}

/// The input is `{"params":{"name":…,"arguments":{…}}}`.
@_expose(wasm, "call")
@_cdecl("call")
func call() -> Int32 {
    respond { input throws(ToolError) in try dispatch(input?.member("params")) }
}
