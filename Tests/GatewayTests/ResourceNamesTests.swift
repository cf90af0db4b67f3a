// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import Gateway

/// The URIs under which clients see what an owner has.
@Suite("Resource names") struct ResourceNamesTests {
    /// Written down once and for ever: a URI that changes breaks every bookmark of it.
    static let fixed: [(String, String, String)] = [
        ("", "file:///a", "file:///a"), ("", "ui://x", "ui://x"), ("", "a+b:c", "a+b:c"),
        ("gh", "file:///a", "gh+file:///a"), ("gh", "repo://x/{path}", "gh+repo://x/{path}"),
        ("gh", "gh+file:///a", "gh+gh+file:///a"), ("gh", "", "gh+"), ("gh", "no scheme", "gh+no scheme"),
        ("gh", "https://a.example/b", "https://a.example/b"), ("gh", "http://a.example/b", "http://a.example/b"),
        ("gh", "HTTPS://a.example/b", "gh+HTTPS://a.example/b"), ("gh", "httpsx://a", "gh+httpsx://a"),
        ("gh", "https:/a", "gh+https:/a"), ("gh", "ui://panel/main", "ui://gh/panel/main"), ("gh", "ui://", "ui://gh/"),
        ("gh", "ui:panel", "gh+ui:panel"), ("gh", "ui://gh/panel", "ui://gh/gh/panel"),
        ("git-hub2", "x:y", "git-hub2+x:y"), ("GitHub", "x:y", "github-\(ExposedName.digest("GitHub"))+x:y"),
        ("a_b", "x:y", "a-b-\(ExposedName.digest("a_b"))+x:y"), ("a.b", "x:y", "a-b-\(ExposedName.digest("a.b"))+x:y"),
        ("2nd", "x:y", "x-2nd-\(ExposedName.digest("2nd"))+x:y"), ("-", "x:y", "x---\(ExposedName.digest("-"))+x:y"),
        ("a+b", "x:y", "a-b-\(ExposedName.digest("a+b"))+x:y"),
        ("gr\u{fc}n", "x:y", "gr--n-\(ExposedName.digest("gr\u{fc}n"))+x:y"),
    ]

    @Test("A URI gets its owner's label in front, or inside where its scheme must stay", arguments: fixed)
    func exposed(_ prefix: String, _ original: String, _ expected: String) {
        let names = ResourceNames(prefix: prefix)
        #expect(names.exposed(original).utf8.elementsEqual(expected.utf8))
    }

    static let prefixes = ["gh", "GH", "a", "a-b", "a_b", "a.b", "a+b", "2nd", "-", "gr\u{fc}n", "x", "ui", "https"]

    static let originals: [String] = {
        var all = [
            "", "/", "+", ":", "{", "no scheme", "file:///a", "file:///a b", "FILE:///a", "file:///a/{+path}{?q}",
            "x:{/a*}{&b}", "ui://", "ui://a", "ui://a/b", "ui:///a", "ui:a", "ui+ui://a", "urn:isbn:0", "http:/a",
            "https:a", "httpsa://b", "data:text/plain,a", "gh+file:///a", "a+b+c:d", "\u{e9}:\u{1f600}", "\n", "\u{0}",
            "file:///\u{212a}", "file:///K",
        ]
        for prefix in prefixes { all += ["\(prefix)+x:y", "ui://\(prefix)/x", "\(prefix):x"] }
        return all
    }()

    @Test("Whatever the prefix, a label begins a legal scheme", arguments: prefixes)
    func legal(_ prefix: String) {
        let label = ResourceNames(prefix: prefix).label
        let letters = "abcdefghijklmnopqrstuvwxyz"
        #expect(letters.utf8.contains((label.utf8.first ?? 0) | 0x20))
        let legal = Set((letters + letters.uppercased() + "0123456789-").utf8)
        #expect(label.utf8.allSatisfy(legal.contains), "\(label)")
    }

    @Test("The owner's own URI comes back from the one that clients know", arguments: prefixes)
    func reversible(_ prefix: String) {
        let names = ResourceNames(prefix: prefix)
        for original in Self.originals {
            let back = names.original(names.exposed(original))
            #expect(back.map { Array($0.utf8) } == Array(original.utf8), "\(original)")
        }
    }

    @Test("Two URIs, or two owners, never become one")
    func injective() {
        var seen: [[UInt8]: String] = [:]
        for prefix in Self.prefixes {
            let names = ResourceNames(prefix: prefix)
            for original in Self.originals {
                let exposed = Array(names.exposed(original).utf8)
                let other = seen.updateValue("\(prefix) \(original)", forKey: exposed)
                #expect(other == nil, "\(prefix) \(original) and \(other ?? "")")
            }
        }
        #expect(Set(Self.prefixes.map { ResourceNames(prefix: $0).label }).count == Self.prefixes.count)
    }

    @Test("A scheme is read in any case", arguments: ["GH+file:///A", "Gh+file:///A", "gh+file:///A"])
    func anyCase(_ uri: String) {
        #expect(ResourceNames(prefix: "gh").original(uri) == "file:///A")
    }

    @Test(
        "Web addresses and other owners' URIs tell nothing about this owner",
        arguments: [
            "https://a.example/", "http://a.example/", "ghx+file:///a", "g+file:///a", "GHX+file:///a", "file:///a",
            "ui://x/a",
            "ui://gh", "ui://ghx/a", "gh", "gh:a", "", "\u{212a}gh+a",
        ])
    func strange(_ uri: String) {
        #expect(ResourceNames(prefix: "gh").original(uri) == nil)
    }

    @Test("An owner without a prefix has no label, and nothing is known by it")
    func plain() {
        let names = ResourceNames(prefix: "")
        for original in Self.originals {
            #expect(names.exposed(original).utf8.elementsEqual(original.utf8))
            #expect(names.original(original) == nil)
        }
    }

    @Test("A template stays a template: its variables are where they were")
    func templates() {
        let names = ResourceNames(prefix: "a_b")
        for template in ["file:///{path}", "x://{host}{/path*}{?q,r}{#part}", "{scheme}:rest", "ui://{name}/x"] {
            let exposed = names.exposed(template)
            #expect(exposed.hasSuffix(String(template.drop { $0 != "{" })))
            #expect(exposed.utf8.count { $0 == UInt8(ascii: "{") } == template.utf8.count { $0 == UInt8(ascii: "{") })
        }
    }
}
