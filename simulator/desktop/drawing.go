package desktop

import (
	"image"
	"image/color"
	"image/draw"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

const (
	panelHeight = 26
	titleHeight = 24
	margin      = 6 // between the window's frame and its text
)

var (
	face       = basicfont.Face7x13
	windowSize = image.Rect(0, 0, columns*face.Advance+2*margin, titleHeight+rows*face.Height+2*margin)
	titleSize  = image.Rect(0, 0, windowSize.Dx(), titleHeight)

	panelColour   = color.RGBA{24, 26, 32, 255}
	focusColour   = color.RGBA{58, 110, 165, 255}
	unfocusColour = color.RGBA{90, 94, 102, 255}
	closeColour   = color.RGBA{220, 90, 80, 255}
	paperColour   = color.RGBA{16, 18, 22, 255}
	inkColour     = color.RGBA{222, 226, 230, 255}
)

// Draw paints the desktop as it is now.
func (d *Desktop) Draw() *image.RGBA {
	d.mu.Lock()
	defer d.mu.Unlock()
	img := image.NewRGBA(image.Rect(0, 0, Width, Height))
	drawBackground(img)
	d.drawWindow(img)
	drawPointer(img, d.pointer)
	return img
}

func drawBackground(img *image.RGBA) {
	for y := range Height {
		shade := uint8(y / 16 * 16 * 80 / Height) // in bands, which encode well
		fill(img, image.Rect(0, y, Width, y+1), color.RGBA{20 + shade/4, 44 + shade, 84 + shade/2, 255})
	}
	fill(img, image.Rect(0, 0, Width, panelHeight), panelColour)
	write(img, image.Pt(10, 7), "Simulated desktop", inkColour)
}

func (d *Desktop) drawWindow(img *image.RGBA) {
	title := unfocusColour
	if d.focused {
		title = focusColour
	}
	fill(img, windowSize.Inset(-1).Add(d.window), title)
	fill(img, windowSize.Add(d.window), paperColour)
	fill(img, titleSize.Add(d.window), title)
	write(img, d.window.Add(image.Pt(10, 6)), "Terminal", inkColour)
	fill(img, image.Rect(-18, 7, -8, 17).Add(d.window).Add(image.Pt(windowSize.Dx(), 0)), closeColour)

	text := d.window.Add(image.Pt(margin, titleHeight+margin))
	lines := d.terminal.visible()
	for i, line := range lines {
		write(img, text.Add(image.Pt(0, i*face.Height)), line, inkColour)
	}
	d.drawCursor(img, text, lines)
}

// drawCursor draws the text cursor: a block where the window has the focus, else its outline.
func (d *Desktop) drawCursor(img *image.RGBA, text image.Point, lines []string) {
	last := len(lines) - 1
	column := min(len([]rune(lines[last])), columns-1)
	block := image.Rect(0, 0, face.Advance, face.Height).Add(text).Add(image.Pt(column*face.Advance, last*face.Height))
	fill(img, block, inkColour)
	if !d.focused {
		fill(img, block.Inset(1), paperColour)
	}
}

// arrow is the pointer, its tip at the upper left: o is its outline, x its body.
var arrow = []string{
	"o",
	"oo",
	"oxo",
	"oxxo",
	"oxxxo",
	"oxxxxo",
	"oxxxxxo",
	"oxxxxxxo",
	"oxxxxxxxo",
	"oxxxxxxxxo",
	"oxxxxxooooo",
	"oxxoxxo",
	"oxo oxxo",
	"oo  oxxo",
	"o    oxxo",
	"     oxxo",
	"      oo",
}

func drawPointer(img *image.RGBA, at image.Point) {
	shades := map[rune]color.RGBA{'o': {0, 0, 0, 255}, 'x': {255, 255, 255, 255}}
	for y, row := range arrow {
		for x, c := range row {
			if shade, ok := shades[c]; ok {
				img.SetRGBA(at.X+x, at.Y+y, shade)
			}
		}
	}
}

func fill(img *image.RGBA, r image.Rectangle, c color.Color) {
	draw.Draw(img, r, image.NewUniform(c), image.Point{}, draw.Src)
}

// write puts a line of text below and right of a place.
func write(img *image.RGBA, at image.Point, line string, c color.Color) {
	drawer := font.Drawer{Dst: img, Src: image.NewUniform(c), Face: face, Dot: fixed.P(at.X, at.Y+face.Ascent)}
	drawer.DrawString(line)
}
