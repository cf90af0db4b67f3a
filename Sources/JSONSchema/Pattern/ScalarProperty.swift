// Licensed under the Apache License 2.0; see LICENSE.

/// `\p{…}`: a general category or one of a few binary properties.
struct ScalarProperty: Sendable {
    private enum Kind: Sendable {
        /// One or two letters; one letter stands for all categories that begin with it.
        case category(String)
        case alphabetic
        case uppercase
        case lowercase
        case whiteSpace
        case emoji
    }

    private let kind: Kind
    private let isNegated: Bool

    /// Nil where the name is not known, as with scripts.
    init?(_ name: String, isNegated: Bool) {
        self.isNegated = isNegated
        var category = name
        for prefix in ["General_Category=", "gc="] where name.hasPrefix(prefix) {
            category = String(name.dropFirst(prefix.count))
        }
        if Self.categories.contains(category) {
            kind = .category(category)
        } else if let short = Self.longNames[category] {
            kind = .category(short)
        } else {
            switch name {
            case "Alphabetic", "Alpha": kind = .alphabetic
            case "Uppercase", "Upper": kind = .uppercase
            case "Lowercase", "Lower": kind = .lowercase
            case "White_Space", "space": kind = .whiteSpace
            case "Emoji": kind = .emoji
            default: return nil
            }
        }
    }

    func holds(_ scalar: Unicode.Scalar) -> Bool {
        let isInside =
            switch kind {
            case .category(let name): Self.name(of: scalar.properties.generalCategory).hasPrefix(name)
            case .alphabetic: scalar.properties.isAlphabetic
            case .uppercase: scalar.properties.isUppercase
            case .lowercase: scalar.properties.isLowercase
            case .whiteSpace: scalar.properties.isWhitespace
            case .emoji: scalar.properties.isEmoji
            }
        return isInside != isNegated
    }

    private static let categories: Set<String> = [
        "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe",
        "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Cs", "Co", "Cn",
    ]

    private static let longNames = [
        "Letter": "L", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Titlecase_Letter": "Lt",
        "Modifier_Letter": "Lm", "Other_Letter": "Lo", "Mark": "M", "Nonspacing_Mark": "Mn", "Number": "N",
        "Decimal_Number": "Nd", "digit": "Nd", "Letter_Number": "Nl", "Other_Number": "No", "Punctuation": "P",
        "punct": "P", "Dash_Punctuation": "Pd", "Symbol": "S", "Currency_Symbol": "Sc", "Math_Symbol": "Sm",
        "Separator": "Z", "Space_Separator": "Zs", "Other": "C", "Control": "Cc", "cntrl": "Cc", "Format": "Cf",
    ]

    private static func name(of category: Unicode.GeneralCategory) -> String {
        switch category {
        case .uppercaseLetter: "Lu"
        case .lowercaseLetter: "Ll"
        case .titlecaseLetter: "Lt"
        case .modifierLetter: "Lm"
        case .otherLetter: "Lo"
        case .nonspacingMark: "Mn"
        case .spacingMark: "Mc"
        case .enclosingMark: "Me"
        case .decimalNumber: "Nd"
        case .letterNumber: "Nl"
        case .otherNumber: "No"
        case .connectorPunctuation: "Pc"
        case .dashPunctuation: "Pd"
        case .openPunctuation: "Ps"
        case .closePunctuation: "Pe"
        case .initialPunctuation: "Pi"
        case .finalPunctuation: "Pf"
        case .otherPunctuation: "Po"
        case .mathSymbol: "Sm"
        case .currencySymbol: "Sc"
        case .modifierSymbol: "Sk"
        case .otherSymbol: "So"
        case .spaceSeparator: "Zs"
        case .lineSeparator: "Zl"
        case .paragraphSeparator: "Zp"
        case .control: "Cc"
        case .format: "Cf"
        case .surrogate: "Cs"
        case .privateUse: "Co"
        case .unassigned: "Cn"
        @unknown default: "Cn"
        }
    }
}
