const blockSize = 64 * 1024
/** Blocks that wait for their next use. */
const mostSpare = 64
const spare: Buffer[] = []

/**
 * A copy of a piece of an answer in memory that is used again: new memory for each piece made the
 * collector the dearest part of a large answer.
 *
 * @returns `giveBack` is to be called once nobody reads the copy any more, or never
 */
export function copyOf(piece: Buffer): { copy: Buffer; giveBack: () => void } {
  if (piece.length > blockSize) return { copy: Buffer.from(piece), giveBack: () => undefined }
  const block = spare.pop() ?? Buffer.allocUnsafeSlow(blockSize)
  piece.copy(block)
  return {
    copy: block.subarray(0, piece.length),
    giveBack: () => {
      if (spare.length < mostSpare) spare.push(block)
    },
  }
}
