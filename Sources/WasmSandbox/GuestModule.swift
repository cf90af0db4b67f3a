// Licensed under the Apache License 2.0; see LICENSE.

internal import CWasmtime

/// A compiled module, linked and ready to be instantiated any number of times at once.
@safe final class GuestModule: @unchecked Sendable {
    // Nothing here changes after `init`; the library lets all threads use these at once.
    let engine: Engine
    let settings: ModuleSettings
    let instantiator: OpaquePointer
    let config: OpaquePointer
    let wantsWASI: Bool
    let interface: PluginInterface
    /// What has to be called in a fresh instance before anything else.
    let initializers: [String]
    /// Such a function takes an argument count and vector, both zero here.
    let takesArguments: Set<String>
    private let module: OpaquePointer
    private let linker: OpaquePointer

    /// Maps compiled code. The file must have been checked: it is native code.
    static func map(_ path: String, engine: Engine) throws(SandboxError) -> OpaquePointer {
        var module: OpaquePointer?
        if let problem = unsafe wasmtime_module_deserialize_file(engine.raw, path, &module) {
            throw .compileFailed(unsafe takeMessage(error: problem))
        }
        return unsafe module!
    }

    /// Takes `module` over.
    init(engine: Engine, module: OpaquePointer, settings: ModuleSettings) throws(SandboxError) {
        unsafe linker = wasmtime_linker_new(engine.raw)
        unsafe config = cwasm_config_new()
        unsafe self.module = module
        self.engine = engine
        self.settings = settings
        do throws(SandboxError) {
            unsafe (wantsWASI, instantiator) = try Self.link(module, linker, settings.grants)
            unsafe interface = try PluginInterface.of(module)
        } catch {
            unsafe wasmtime_linker_delete(linker)
            unsafe cwasm_config_delete(config)
            unsafe wasmtime_module_delete(module)
            throw error
        }
        unsafe (initializers, takesArguments) = Self.initializers(of: module)
        for (key, value) in settings.config {
            let key = Array(key.utf8)
            let value = Array(value.utf8)
            unsafe cwasm_config_add(config, key, key.count, value, value.count)
        }
    }

    deinit {
        unsafe wasmtime_instance_pre_delete(instantiator)
        unsafe wasmtime_linker_delete(linker)
        unsafe wasmtime_module_delete(module)
        unsafe cwasm_config_delete(config)
    }

    private static func link(
        _ module: OpaquePointer, _ linker: OpaquePointer, _ grants: ModuleGrants
    ) throws(SandboxError) -> (wantsWASI: Bool, instantiator: OpaquePointer) {
        var wantsWASI = false
        var missing = [CChar](repeating: 0, count: 256)
        guard unsafe cwasm_imports_offered(module, &wantsWASI, &missing, missing.count) else {
            throw .missingImport(string(missing))
        }
        if let problem = unsafe cwasm_link_extism(linker) {
            throw .compileFailed(unsafe takeMessage(error: problem))
        }
        if wantsWASI, let problem = unsafe cwasm_link_wasi(linker, grants.clock, grants.random) {
            throw .compileFailed(unsafe takeMessage(error: problem))
        }
        var instantiator: OpaquePointer?
        if let problem = unsafe wasmtime_linker_instantiate_pre(linker, module, &instantiator) {
            throw .missingImport(unsafe takeMessage(error: problem))
        }
        return unsafe (wantsWASI, instantiator!)
    }

    /// The same order of preference as Extism's own hosts have, so that plug-ins of all languages come up.
    private static func initializers(of module: OpaquePointer) -> (names: [String], takesArguments: Set<String>) {
        func shape(_ name: String) -> cwasm_shape { unsafe cwasm_export_shape(module, name) }
        if shape("hs_init") == CWASM_SHAPE_ARGUMENTS {
            return (shape("_initialize") == CWASM_SHAPE_PLAIN ? ["_initialize", "hs_init"] : ["hs_init"], ["hs_init"])
        }
        for name in ["__wasm_call_ctors", "_initialize"] where shape(name) == CWASM_SHAPE_PLAIN { return ([name], []) }
        return ([], [])
    }
}

/// The two generations of the hyper-mcp interface, told apart by what a module exports.
enum PluginInterface: Sendable {
    case v1
    case v2(listsTools: Bool)

    static func of(_ module: OpaquePointer) throws(SandboxError) -> PluginInterface {
        func isCallable(_ name: String) -> Bool {
            let shape = unsafe cwasm_export_shape(module, name)
            return shape == CWASM_SHAPE_CODE || shape == CWASM_SHAPE_PLAIN
        }
        if isCallable("call"), isCallable("describe") { return .v1 }
        if isCallable("call_tool") { return .v2(listsTools: isCallable("list_tools")) }
        throw .noTools(
            "The module offers no tools: it exports neither 'call' and 'describe' nor 'call_tool'. Build it as a "
                + "hyper-mcp plug-in; WebAssembly components and WASI commands are not served yet.")
    }
}
