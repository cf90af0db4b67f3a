// Licensed under the Apache License 2.0; see LICENSE.

// Version 2 of the hyper-mcp interface, as far as tools go. Prompts and resources have functions of their own, all
// optional. Compile this file or HyperMCP1.swift into a module, not both.

@_expose(wasm, "list_tools")
@_cdecl("list_tools")
func listTools() -> Int32 {
    respond { _ throws(ToolError) in listing() }
}

/// The input is `{"request":{"name":…,"arguments":{…}},"context":{…}}`.
@_expose(wasm, "call_tool")
@_cdecl("call_tool")
func callTool() -> Int32 {
    respond { input throws(ToolError) in try dispatch(input?.member("request")) }
}
