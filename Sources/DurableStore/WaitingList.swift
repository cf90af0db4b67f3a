// Licensed under the Apache License 2.0; see LICENSE.

/// The calls of one priority that wait or are being sent, oldest first. Sixteen bytes a call. A pure machine.
///
/// Ids only grow, so almost every entry is an append and almost every one that leaves is near the front; those that
/// leave elsewhere stay as holes until the holes are the larger part.
struct WaitingList {
    private struct Place {
        var id: Int64
        var createdAt: Int64
        var isHole = false
    }

    private var places: [Place] = []
    private var first = 0
    private var holes = 0

    var count: Int { places.count - first - holes }

    /// The oldest of them that `suits`.
    func oldest(where suits: (Int64) -> Bool = { _ in true }) -> (id: Int64, createdAt: Int64)? {
        var index = first
        while index < places.count {
            let place = places[index]
            if !place.isHole, suits(place.id) { return (place.id, place.createdAt) }
            index += 1
        }
        return nil
    }

    mutating func enter(_ id: Int64, createdAt: Int64) {
        let place = Place(id: id, createdAt: createdAt)
        guard let last = places.last, first < places.count, last.id >= id else {
            places.append(place)
            return
        }
        let index = position(of: id)
        if index < places.count, places[index].id == id {
            if places[index].isHole { holes -= 1 }
            places[index] = place
        } else if index == first, first > 0 {
            first -= 1
            places[first] = place
        } else {
            places.insert(place, at: index)
        }
    }

    mutating func leave(_ id: Int64) {
        let index = position(of: id)
        guard index < places.count, places[index].id == id, !places[index].isHole else { return }
        places[index].isHole = true
        holes += 1
        while first < places.count, places[first].isHole {
            first += 1
            holes -= 1
        }
        if first + holes > 64 + count {
            places = places[first...].filter { !$0.isHole }
            (first, holes) = (0, 0)
        }
    }

    /// Where the id is, or where it belongs.
    private func position(of id: Int64) -> Int {
        var (low, high) = (first, places.count)
        while low < high {
            let middle = (low + high) / 2
            if places[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
