// Licensed under the Apache License 2.0; see LICENSE.

import Access
import GatewayTestKit
import HTTPListener
import MCPWire
import Testing

@testable import AdminPlane

/// The description of the admin routes, held against the routes themselves.
@Suite("Description of the admin routes") struct OpenAPITests {
    /// A path with something in place of its braces.
    private static func asked(_ path: String) -> String {
        guard let open = path.firstIndex(of: "{"), let close = path.firstIndex(of: "}") else { return path }
        return path[..<open] + (path.hasPrefix("/admin/queue") ? "1" : "none") + path[path.index(after: close)...]
    }

    private static func members(_ value: JSONValue?) -> [(key: String, value: JSONValue)] { value?.objectValue ?? [] }

    private func description() async throws -> JSONValue {
        try await AdminSite().use { client async throws in
            try #require(try await client.order("GET", "/admin/openapi.json").json)
        }
    }

    @Test("It is a document of OpenAPI 3.1 with an answer for every reference")
    func document() async throws {
        let document = try await description()
        #expect(document["openapi"] == "3.1.0")
        #expect(document["info"]?["version"] == "1.0-test")
        let schemas = Self.members(document["components"]?["schemas"]).map(\.key)
        #expect(schemas == ["Answer", "Refusal"])
        for part in document.text.split(separator: "#/components/schemas/").dropFirst() {
            #expect(schemas.contains(String(part.prefix { $0 != "\"" })))
        }
    }

    @Test("Everything that can be asked for is in it once, under a name of its own")
    func complete() async throws {
        let site = AdminSite()
        let calls = try routes(site).calls
        let document = try await description()
        var described: [String] = []
        for (path, verbs) in Self.members(document["paths"]) {
            for (verb, operation) in Self.members(verbs) {
                described.append("\(verb) \(path) \(operation["operationId"]?.stringValue ?? "")")
            }
        }
        // But for the description itself.
        let known = calls.map { "\($0.verb.label.lowercased()) \($0.path) \($0.name)" }
        #expect(Set(described) == Set(known.filter { !$0.hasSuffix(" openapi") }))
        #expect(described.count == Set(described).count)
        #expect(Set(calls.map(\.name)).count == calls.count)
        #expect(Set(calls.map { "\($0.verb.label) \($0.path)" }).count == calls.count)
        #expect(calls.allSatisfy { $0.about.hasSuffix(".") && $0.path.hasPrefix("/admin/") })
    }

    private func routes(_ site: AdminSite) throws -> AdminRoutes {
        let door = OperatorDoor(isPublic: false, local: LocalUsers(["root"])) { _ in 0 }
        // Of a folder that is not there: a book without tokens.
        let rooms = AdminRooms(
            queue: site.store, cache: site.store, care: site.care, traffic: site.traffic,
            configuration: site.configuration, tokens: try TokenBook(directory: "/nonexistent"), time: site.time,
            version: "1", uptime: { .zero }, health: { [] }, load: { .null }, sync: { .null })
        return AdminRoutes(gate: AdminGate(door: door, log: site.log, time: site.time), rooms: rooms)
    }

    @Test("What it describes is there, answers as it says, and takes no other verb")
    func routed() async throws {
        let document = try await description()
        for (path, verbs) in Self.members(document["paths"]) {
            // Each on a site of its own, since they change something.
            let site = AdminSite()
            let place = Self.asked(path)
            try await site.use { client async throws in
                for (verb, operation) in Self.members(verbs) {
                    let answer = try await client.order(verb.uppercased(), place)
                    let statuses = Self.members(operation["responses"]).map(\.key)
                    #expect(statuses.contains("\(answer.status)"), "\(verb) \(place): \(answer.status)")
                    #expect(answer.refusal?.words != "There is no such admin route.", "\(verb) \(place)")
                }
                let named = Self.members(verbs).map { $0.key.uppercased() }
                let other = try await client.order("PUT", place)
                #expect(other.status == 405)
                let allowed = Set((other.header("allow") ?? "").split(separator: ", ").map(String.init))
                #expect(allowed == Set(named + (named.contains("GET") ? ["HEAD"] : [])), "\(path)")
            }
        }
    }

    @Test("What stands in a path is described, and what a call does not take is refused by name")
    func fields() async throws {
        let document = try await description()
        for (path, verbs) in Self.members(document["paths"]) {
            let site = AdminSite()
            for (verb, operation) in Self.members(verbs) {
                let parameters = operation["parameters"]?.arrayValue ?? []
                let inPath = parameters.filter { $0["in"] == "path" }
                #expect(inPath.count == (path.contains("{") ? 1 : 0), "\(path)")
                if let name = inPath.first?["name"]?.stringValue { #expect(path.contains("{\(name)}")) }
                let schema = operation["requestBody"]?["content"]?["application/json"]?["schema"]
                #expect((schema == nil) == (verb == "get"), "\(verb) \(path)")
                try await site.use { client async throws in
                    let query = try await client.order(verb.uppercased(), Self.asked(path) + "?none=1")
                    #expect(query.status == 400 && query.refusal?.words.contains("\"none\"") == true, "\(verb) \(path)")
                    guard verb != "get" else { return }
                    let body = try await client.order(verb.uppercased(), Self.asked(path), #"{"none":1}"#)
                    #expect(body.status == 400 && body.refusal?.words.contains("\"none\"") == true, "\(verb) \(path)")
                    for required in schema?["required"]?.arrayValue?.compactMap(\.stringValue) ?? [] {
                        let without = try await client.order(verb.uppercased(), Self.asked(path))
                        #expect(without.status == 400, "\(verb) \(path) without \(required)")
                    }
                }
            }
            #expect(site.traffic.orders == [], "\(path)")
        }
    }

    // MARK: Places in paths

    private func call(_ path: String, isNumbered: Bool = false) -> AdminCall {
        AdminCall("x", .get, path, "", isNumbered: isNumbered) { _ throws(AdminRefusal) in AdminAnswer(words: "") }
    }

    static let places: [(String, String, String?)] = [
        ("/admin/drain", "/admin/drain", ""), ("/admin/drain", "/admin/drain/", nil), ("/admin/drain", "/admin", nil),
        ("/admin/tools/{name}/disable", "/admin/tools/erp__a/disable", "erp__a"),
        ("/admin/tools/{name}/disable", "/admin/tools/a%2Fb/disable", "a/b"),
        ("/admin/tools/{name}/disable", "/admin/tools/a+b/disable", "a+b"),
        ("/admin/tools/{name}/disable", "/admin/tools/a/b/disable", nil),
        ("/admin/tools/{name}/disable", "/admin/tools//disable", nil),
        ("/admin/tools/{name}/disable", "/admin/tools/disable", nil),
        ("/admin/tools/{name}/disable", "/admin/tools/a/enable", nil),
        ("/admin/tools/{name}/disable", "/admin/tools/a/disable/", nil),
        ("/admin/tokens/{id}", "/admin/tokens/0123abcd", "0123abcd"), ("/admin/tokens/{id}", "/admin/tokens/", nil),
        ("/admin/tokens/{id}", "/admin/tokens", nil),
    ]

    @Test("What stands where a path has its braces is one part of it, as it is meant", arguments: places)
    func place(_ path: String, _ asked: String, _ place: String?) {
        #expect(call(path).place(in: asked[...]) == place)
    }

    static let numbers: [(String, String?)] = [
        ("1", "1"), ("9223372036854775807", "9223372036854775807"), ("9223372036854775808", nil), ("-1", nil),
        ("+1", nil), ("1.0", nil), ("x", nil), ("%31", nil), ("", nil), ("1/2", nil), ("١", nil),
    ]

    @Test("A number in a path is digits and nothing else", arguments: numbers)
    func number(_ asked: String, _ place: String?) {
        #expect(call("/admin/queue/{id}", isNumbered: true).place(in: "/admin/queue/\(asked)") == place)
    }
}
