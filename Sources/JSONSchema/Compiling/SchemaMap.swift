// Licensed under the Apache License 2.0; see LICENSE.

internal import MCPWire

/// The places of a document that have been seen, as a tree of names. Pointers are never spelled out for each of them:
/// with long names that would multiply the size of the document.
struct SchemaMap {
    struct Place {
        let parent: Int
        let name: String
        let value: JSONValue
        /// The subschema that stands here, once it is compiled.
        var node: Int?
    }

    private struct Step: Hashable {
        let parent: Int
        let name: Name
    }

    private(set) var places: [Place] = []
    private var children: [Step: Int] = [:]

    init(_ root: JSONValue) {
        places = [Place(parent: 0, name: "", value: root)]
    }

    /// The place below another one, which is new or known.
    mutating func child(of parent: Int, _ name: String, _ value: @autoclosure () -> JSONValue) -> Int {
        let step = Step(parent: parent, name: Name(name))
        if let known = children[step] { return known }
        places.append(Place(parent: parent, name: name, value: value()))
        children[step] = places.count - 1
        return places.count - 1
    }

    func knownChild(of parent: Int, _ name: String) -> Int? {
        children[Step(parent: parent, name: Name(name))]
    }

    mutating func settle(_ place: Int, node: Int) { places[place].node = node }

    /// The pointer, for people.
    func pointer(_ place: Int) -> String {
        var names: [String] = []
        var current = place
        while current != 0 {
            names.append(places[current].name)
            current = places[current].parent
        }
        return Words.pointer(names.reversed())
    }
}
