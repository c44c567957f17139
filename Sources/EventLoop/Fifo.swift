// A queue: elements leave in the order in which they came. Pure value.

/// Elements in a row, the oldest first. What has left is let go of at once; its places are closed up when
/// they are the larger part, so that each element is moved once or twice, however long the queue is and
/// however long it lives. Public, as only then it is specialized for its elements in other modules.
public struct Fifo<Element> {
    /// Below this many empty places closing up is not worth while.
    @usableFromInline static var minimumGapCount: Int { 64 }

    @usableFromInline var places: ContiguousArray<Element?> = []
    @usableFromInline var takenCount = 0

    @inlinable public init() {}

    /// How many places are in memory: never more than twice `count`, and a few.
    package var storedCount: Int { places.count }

    @inlinable public mutating func append(_ element: Element) { places.append(element) }

    /// Takes the oldest element; nil if the queue is empty.
    ///
    /// - Complexity: O(1) amortised: what closing up moves is at most what was taken since the last time.
    @discardableResult
    @inlinable public mutating func takeFirst() -> Element? {
        guard takenCount < places.count else { return nil }
        let element = places[takenCount]
        places[takenCount] = nil
        takenCount += 1
        if takenCount >= Swift.max(Self.minimumGapCount, count) {
            places.removeFirst(takenCount)
            takenCount = 0
        }
        return element
    }

    /// Forgets every element, and the memory.
    @inlinable public mutating func removeAll() { self = Fifo() }
}

extension Fifo: RandomAccessCollection, MutableCollection {
    @inlinable public var startIndex: Int { 0 }
    @inlinable public var endIndex: Int { places.count - takenCount }

    /// - Parameter index: how many older elements there are.
    @inlinable public subscript(index: Int) -> Element {
        get {
            precondition(index >= 0, "no element is older than the first")
            return places[takenCount + index]!
        }
        set {
            precondition(index >= 0, "no element is older than the first")
            places[takenCount + index] = newValue
        }
    }
}
