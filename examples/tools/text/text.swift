// Licensed under the Apache License 2.0; see LICENSE.

var tools: [Tool] {
    [
        Tool(
            "echo",
            """
            {"name":"echo","title":"Echo","description":"Returns the text it is given, unchanged. Use it to check that \
            the gateway answers.","inputSchema":{"type":"object","properties":{\
            "text":{"type":"string","description":"The text to return."}},\
            "required":["text"],"additionalProperties":false},\
            "annotations":{"readOnlyHint":true,"idempotentHint":true,"openWorldHint":false}}
            """,
            run: echo),
        Tool(
            "word_count",
            """
            {"name":"word_count","title":"Count words","description":"Counts the words, lines, characters (Unicode \
            code points) and UTF-8 bytes of a text. Use it whenever an exact length matters.",\
            "inputSchema":{"type":"object","properties":{"text":{"type":"string","description":"The text to count."}},\
            "required":["text"],"additionalProperties":false},\
            "outputSchema":{"type":"object","properties":{"words":{"type":"integer"},"lines":{"type":"integer"},\
            "characters":{"type":"integer"},"bytes":{"type":"integer"}},\
            "required":["words","lines","characters","bytes"],"additionalProperties":false},\
            "annotations":{"readOnlyHint":true,"idempotentHint":true,"openWorldHint":false}}
            """,
            run: wordCount),
        Tool(
            "slug",
            """
            {"name":"slug","title":"Make a slug","description":"Turns a title into a name for a URL or a file: \
            lower-case ASCII letters and digits with single hyphens between the words; accents of Latin letters are \
            dropped.",\
            "inputSchema":{"type":"object","properties":{\
            "text":{"type":"string","description":"The title."},\
            "max_length":{"type":"integer","minimum":1,"maximum":200,"default":80,\
            "description":"The slug is cut at a word to at most this many characters."}},\
            "required":["text"],"additionalProperties":false},\
            "annotations":{"readOnlyHint":true,"idempotentHint":true,"openWorldHint":false}}
            """,
            run: slug),
    ]
}

/// The text is not even decoded: the string goes out as it was written.
func echo(_ arguments: JSON) throws(ToolError) -> Answer {
    guard let text = arguments.member("text"), text.isString else { throw ToolError("text must be a string.") }
    return .quoted(text.raw)
}

func wordCount(_ arguments: JSON) throws(ToolError) -> Answer {
    guard let text = arguments.member("text")?.string else { throw ToolError("text must be a string.") }
    var words = 0
    var breaks = 0
    var characters = 0
    var isInWord = false
    var last: UInt32 = 0x0a
    for scalar in text.scalars {
        characters += 1
        last = scalar
        if last == 0x0a { breaks += 1 }
        if isSpace(last) {
            isInWord = false
        } else if !isInWord {
            isInWord = true
            words += 1
        }
    }
    // A last line without a line break is a line too.
    let lines = breaks + (last == 0x0a ? 0 : 1)
    return .structured(
        "{\"words\":\(words),\"lines\":\(lines),\"characters\":\(characters),\"bytes\":\(text.bytes.count)}")
}

func slug(_ arguments: JSON) throws(ToolError) -> Answer {
    guard let text = arguments.member("text")?.string else { throw ToolError("text must be a string.") }
    var limit = 80.0
    if let given = arguments.member("max_length") { limit = given.number ?? 0 }
    guard limit >= 1, limit <= 200, limit == limit.rounded(.down) else {
        throw ToolError("max_length must be a whole number from 1 to 200.")
    }
    var slug: [UInt8] = []
    var lastWordEnd = 0
    for scalar in text.scalars {
        let letters = plain(scalar)
        if letters.isEmpty {
            if let last = slug.last, last != UInt8(ascii: "-"), !isMark(scalar) {
                lastWordEnd = slug.count
                slug.append(UInt8(ascii: "-"))
            }
        } else {
            slug.append(contentsOf: letters)
        }
        if slug.count > Int(limit) { break }
    }
    if slug.count > Int(limit) {
        // Between words when the first one fits, else inside it.
        slug.removeLast(slug.count - (lastWordEnd > 0 ? min(lastWordEnd, Int(limit)) : Int(limit)))
    }
    while slug.last == UInt8(ascii: "-") { slug.removeLast() }
    guard !slug.isEmpty else {
        throw ToolError("The text has no Latin letters or digits to make a slug of; give a title in Latin script.")
    }
    return .text(Text(slug))
}

/// White space as Unicode has it.
func isSpace(_ scalar: UInt32) -> Bool {
    switch scalar {
    case 0x09...0x0d, 0x20, 0x85, 0xa0, 0x1680, 0x2000...0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000: true
    default: false
    }
}

/// Marks that belong to the letter before them, and apostrophes: they end no word.
func isMark(_ scalar: UInt32) -> Bool {
    scalar == 0x27 || scalar == 0x2019 || (scalar >= 0x300 && scalar < 0x370)
}

/// The ASCII letters or digits that stand for a character; none for all others.
func plain(_ scalar: UInt32) -> [UInt8] {
    switch scalar {
    case 0x30...0x39, 0x61...0x7a: return [UInt8(scalar)]
    case 0x41...0x5a: return [UInt8(scalar) + 0x20]
    case 0xdf, 0x1e9e: return Text("ss").bytes
    case 0xc6, 0xe6: return Text("ae").bytes
    case 0x152, 0x153: return Text("oe").bytes
    case 0xde, 0xfe: return Text("th").bytes
    case 0xc0...0xff: return base("aaaaaa-ceeeeiiiidnooooo-ouuuuy--aaaaaa-ceeeeiiiidnooooo-ouuuuy-y", scalar - 0xc0)
    case 0x100...0x17f:
        return base(
            """
            aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkklllllllllln\
            nnnnnnnnoooooo--rrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs
            """, scalar - 0x100)
    default: return []
    }
}

func base(_ letters: StaticString, _ index: UInt32) -> [UInt8] {
    let letter = letters.utf8Start[Int(index)]
    return letter == UInt8(ascii: "-") ? [] : [letter]
}
