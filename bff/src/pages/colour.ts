type Rgb = readonly [number, number, number]

/** What text needs on its ground (WCAG 2.2, 1.4.3). */
const readable = 4.5
const black: Rgb = [0, 0, 0]
const white: Rgb = [255, 255, 255]

const parse = (colour: string): Rgb => [1, 3, 5].map(at => Number.parseInt(colour.slice(at, at + 2), 16)) as never
const format = (rgb: Rgb): string => `#${rgb.map(part => Math.round(part).toString(16).padStart(2, '0')).join('')}`

/** Relative luminance, 0 to 1 (WCAG 2.2). */
function luminance(rgb: Rgb): number {
  const [red, green, blue] = rgb.map(part => {
    const share = part / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  }) as [number, number, number]
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

function contrast(one: Rgb, other: Rgb): number {
  const [darker = 0, lighter = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b)
  return (lighter + 0.05) / (darker + 0.05)
}

/** @returns the colour itself where it can be read on this ground, else the nearest shade of it that can */
export function readableOn(colour: string, ground: string): string {
  const [given, below] = [parse(colour), parse(ground)]
  const end = contrast(black, below) > contrast(white, below) ? black : white
  for (let step = 0; step < 20; step++) {
    const shade = given.map((part, index) => part + (((end[index] as number) - part) * step) / 20) as unknown as Rgb
    if (contrast(shade, below) >= readable) return format(shade)
  }
  return format(end)
}

/** @returns black or white, whichever is easier to read on this colour: one of them always is */
export const textOn = (colour: string): string =>
  contrast(white, parse(colour)) >= contrast(black, parse(colour)) ? format(white) : format(black)
