// Licensed under the Apache License 2.0; see LICENSE.

/// One tool of this module. A module declares `var tools: [Tool]`; the rest of the kit does the talking.
struct Tool {
    let name: Text
    /// The tool's definition as it stands in `tools/list`, in JSON: name, description, inputSchema.
    let definition: StaticString
    let run: (JSON) throws(ToolError) -> Answer

    init(_ name: Text, _ definition: StaticString, run: @escaping (JSON) throws(ToolError) -> Answer) {
        self.name = name
        self.definition = definition
        self.run = run
    }
}

/// Why a tool could not do what it was asked, in words that let a model do better with its next call.
struct ToolError: Error {
    let message: Text
    init(_ message: Text) { self.message = message }
}

/// What a tool answers.
enum Answer {
    /// Text for the model.
    case text(Text)
    /// A string that is already written as JSON, quotes included; it goes out as it is.
    case quoted(ArraySlice<UInt8>)
    /// A JSON object, for tools whose definition has an `outputSchema`. It goes out as structured content, and as text
    /// for clients that do not know that.
    case structured(Text)
}

/// The value of a key in the `config` table of this tool in the gateway's configuration.
func configured(_ key: Text) -> Text? {
    let name = key.bytes
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = kit_config_read(name, name.count, &bytes, bytes.count)
    return count < 0 ? nil : Text(Array(bytes.prefix(Int(count))))
}

// MARK: - Between the host and the tools

/// Runs `body` on the call's input and hands its answer to the host. What an exported function returns: 0, or 1 with a
/// reason.
func respond(_ body: (JSON?) throws(ToolError) -> [UInt8]) -> Int32 {
    let count = kit_input_count()
    let input = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        if count > 0 { kit_input_read(buffer.baseAddress!) }
        filled = count
    }
    do throws(ToolError) {
        let answer = try body(JSON(parsing: input))
        guard kit_output_write(answer, answer.count) else { throw ToolError("The host has no room for the answer.") }
        return 0
    } catch {
        let reason = error.message.bytes
        kit_error_write(reason, reason.count)
        return 1
    }
}

/// `{"tools":[…]}`, the same in every version of the interface.
func listing() -> [UInt8] {
    var bytes = Text("{\"tools\":[").bytes
    for (index, tool) in tools.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        bytes.append(contentsOf: Text(tool.definition).bytes)
    }
    bytes.append(contentsOf: Text("]}").bytes)
    return bytes
}

/// Carries out `{"name":…,"arguments":…}`. What goes wrong inside a tool is an answer too, marked `isError`; only a
/// message that is no call at all fails.
func dispatch(_ parameters: JSON?) throws(ToolError) -> [UInt8] {
    guard let name = parameters?.member("name"), name.isString else {
        throw ToolError("The host sent no call: the name of the tool is missing.")
    }
    var bytes: [UInt8] = []
    do throws(ToolError) {
        guard let tool = tools.first(where: { name.equals($0.name) }) else {
            var known: Text = ""
            for tool in tools { known += known.isEmpty ? tool.name : ", \(tool.name)" }
            throw ToolError("This module has no tool of that name. It has: \(known).")
        }
        guard let arguments = parameters?.member("arguments") ?? JSON(parsing: Text("{}").bytes), arguments.isObject
        else {
            throw ToolError("The arguments must be a JSON object.")
        }
        append(try tool.run(arguments), to: &bytes)
    } catch {
        bytes = Text("{\"content\":[{\"type\":\"text\",\"text\":").bytes
        JSON.appendQuoted(error.message, to: &bytes)
        bytes.append(contentsOf: Text("}],\"isError\":true}").bytes)
    }
    return bytes
}

private func append(_ answer: Answer, to bytes: inout [UInt8]) {
    if case .quoted(let text) = answer { bytes.reserveCapacity(text.count + 64) }
    bytes.append(contentsOf: Text("{\"content\":[{\"type\":\"text\",\"text\":").bytes)
    switch answer {
    case .text(let text): JSON.appendQuoted(text, to: &bytes)
    case .quoted(let text): bytes.append(contentsOf: text)
    case .structured(let object): JSON.appendQuoted(object, to: &bytes)
    }
    bytes.append(contentsOf: Text("}]").bytes)
    if case .structured(let object) = answer {
        bytes.append(contentsOf: Text(",\"structuredContent\":").bytes)
        bytes.append(contentsOf: object.bytes)
    }
    bytes.append(contentsOf: Text("}").bytes)
}
