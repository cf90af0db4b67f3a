// Licensed under the Apache License 2.0; see LICENSE.

import Glibc

/// Where this program lives: installed by a package, or built in a checkout of the source.
package struct Installation: Sendable, Equatable {
    /// The directory of the executable.
    package let programDirectory: String
    /// The checkout that the executable was built in.
    package let checkout: String?

    package init(programDirectory: String, checkout: String?) {
        self.programDirectory = programDirectory
        self.checkout = checkout
    }

    /// A checkout is the nearest directory above the executable that has both Package.swift and config/default.toml, so
    /// that it is found
    /// whatever the build folder is called. Looks at no more than 32 directories.
    package static func of(executablePath: String, files: SettingsFiles = .machine) -> Installation {
        let program = SettingsUnits.folder(of: executablePath)
        var folder = program
        for _ in 0..<32 where folder != "/" && folder.hasPrefix("/") {
            folder = SettingsUnits.folder(of: folder)
            if files.kind("\(folder)/Package.swift") == .file && files.kind("\(folder)/config/default.toml") == .file {
                return Installation(programDirectory: program, checkout: folder)
            }
        }
        return Installation(programDirectory: program, checkout: nil)
    }

    /// That of the running process.
    package static func current() -> Installation { of(executablePath: currentExecutable()) }

    /// The path of the running executable, links resolved.
    package static func currentExecutable() -> String {
        guard let path = unsafe realpath("/proc/self/exe", nil) else { return "/" }
        defer { unsafe free(path) }
        return unsafe String(cString: path)
    }

    /// Where the wasmtime library is looked for, best place first.
    package var libraries: [String] {
        let name = "libwasmtime.so"
        let built = checkout.map { ["\($0)/vendor/lib/\(name)"] } ?? []
        return built + ["\(programDirectory)/\(name)", "/usr/lib/mcp-gateway/\(name)"]
    }
}

/// Which configuration file a command means.
package enum ConfigurationPath {
    package static let installed = "/etc/mcp-gateway/production.toml"

    /// The one on the command line, else `$MCP_GATEWAY_CONFIG`, else that of the checkout that the program was built
    /// in, else the installed
    /// one. Never the working directory. The file need not exist.
    package static func find(
        explicit: String?, environment: [String: String], installation: Installation
    ) -> String {
        if let explicit, !explicit.isEmpty { return explicit }
        if let named = environment["MCP_GATEWAY_CONFIG"], !named.isEmpty { return named }
        return installation.checkout.map { "\($0)/config/default.toml" } ?? installed
    }

    /// The same for an executable by its path.
    package static func find(
        explicit: String?, environment: [String: String], executablePath: String, files: SettingsFiles = .machine
    ) -> String {
        find(
            explicit: explicit, environment: environment,
            installation: Installation.of(executablePath: executablePath, files: files))
    }
}

/// The environment that this process was started with.
package enum ProcessEnvironment {
    /// Read from the kernel's copy, since the C library's own list may be written to by other threads. Of a name given
    /// twice the first
    /// counts; what is not UTF-8 is left out.
    package static func current(files: SettingsFiles = .machine) -> [String: String] {
        // Without /proc there are no variables, and each one that a file needs is reported by name.
        guard let bytes = try? files.read("/proc/self/environ", 8 << 20) else { return [:] }
        var variables: [String: String] = [:]
        for piece in bytes.split(separator: 0) {
            guard let text = String(validating: piece, as: UTF8.self), let equals = text.firstIndex(of: "=") else {
                continue
            }
            let name = String(text[..<equals])
            if variables[name] == nil { variables[name] = String(text[text.index(after: equals)...]) }
        }
        return variables
    }
}
