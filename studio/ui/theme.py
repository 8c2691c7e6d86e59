"""Appearance of the page: a Gradio theme with our accent colour, and the style sheets in `assets/ui`.

`style.css` styles the window, `tabs.css` the contents of the tabs, `chat.css` Chat's. Only system fonts are used:
nothing is downloaded.
This module does not depend on what is on the page.
"""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils.fonts import Font

from studio.home import ASSETS

ACCENT = gr.themes.Color(
    name="delta",
    c50="#eefaf8",
    c100="#d5f2ed",
    c200="#aee4db",
    c300="#7acfc3",
    c400="#43b2a5",
    c500="#1d9387",
    c600="#0e776d",
    c700="#0d5f58",
    c800="#0f4c47",
    c900="#103f3c",
    c950="#042524",
)
_SANS = [
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "sans-serif",
]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace"]
_LIGHT_AND_DARK = {
    "body_background_fill": ("#f6f8f9", "#0d1216"),
    "background_fill_primary": ("#ffffff", "#151c22"),
    "background_fill_secondary": ("#f1f4f6", "#1b242b"),
    "block_background_fill": ("#ffffff", "#151c22"),
    "border_color_primary": ("#dde3e8", "#2a353e"),
    "block_shadow": ("none", "none"),
    "block_label_background_fill": ("transparent", "transparent"),
    "input_background_fill": ("#ffffff", "#10171c"),
    "input_border_color": ("#c3ccd4", "#3a4650"),
    "input_border_color_focus": ("*primary_500", "*primary_400"),
    "body_text_color_subdued": ("#5a6772", "#9aa8b3"),
    "button_primary_background_fill": ("*primary_600", "*primary_600"),
    "button_primary_background_fill_hover": ("*primary_700", "*primary_500"),
    "button_primary_text_color": ("#ffffff", "#ffffff"),
    "link_text_color": ("*primary_700", "*primary_300"),
    "input_border_width": ("1px", "1px"),
    "block_title_text_color": ("*body_text_color", "*body_text_color"),
    "block_info_text_color": ("*body_text_color_subdued", "*body_text_color_subdued"),
    "button_secondary_background_fill": ("#ffffff", "#1b242b"),
    "button_secondary_background_fill_hover": ("#f1f4f6", "#243039"),
    "button_secondary_border_color": ("#c3ccd4", "#3a4650"),
    "button_secondary_text_color": ("*body_text_color", "*body_text_color"),
    "button_primary_border_color": ("*primary_600", "*primary_600"),
    "button_cancel_background_fill": ("#ffffff", "#1b242b"),
    "button_cancel_background_fill_hover": ("#fdf0ee", "#3a2320"),
    "button_cancel_border_color": ("#d9a29b", "#7a463f"),
    "button_cancel_text_color": ("#b42318", "#ff9b8f"),
    "checkbox_border_color": ("#8a97a3", "#6b7a86"),
    "checkbox_label_background_fill": ("#ffffff", "#1b242b"),
    "checkbox_label_border_color": ("#c3ccd4", "#3a4650"),
    "checkbox_label_background_fill_hover": ("#f1f4f6", "#243039"),
    "checkbox_label_background_fill_selected": ("*primary_50", "#14302e"),
    "checkbox_label_border_color_selected": ("*primary_600", "*primary_500"),
    "checkbox_background_color_selected": ("*primary_600", "*primary_600"),
    "slider_color": ("*primary_600", "*primary_500"),
}
"""Variable of the theme → its value in light and in dark mode."""
_BOTH_MODES = {
    "block_border_width": "1px",
    "block_title_text_weight": "600",
    "block_label_text_weight": "600",
    "input_radius": "*radius_md",
    "block_radius": "*radius_lg",
    "button_border_width": "1px",
    "checkbox_border_width": "1px",
    "checkbox_border_radius": "4px",
    "checkbox_label_border_width": "1px",
    "button_large_radius": "*radius_md",
    "button_small_radius": "*radius_md",
    "button_medium_radius": "*radius_md",
    "button_large_text_weight": "600",
    "button_medium_text_weight": "600",
    "button_transition": "background-color 0.12s ease",
}
"""Variable of the theme → its value in either mode."""


class _SystemFont(Font):
    """A font installed on the system. Gradio's own class quotes `system-ui`, which then matches no font."""

    def __str__(self) -> str:
        return f"'{self.name}'" if " " in self.name else self.name


def theme() -> gr.themes.Base:
    made = gr.themes.Base(
        primary_hue=ACCENT,
        secondary_hue=ACCENT,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        text_size=gr.themes.sizes.text_md,
        spacing_size=gr.themes.sizes.spacing_md,
        font=[_SystemFont(name) for name in _SANS],
        font_mono=[_SystemFont(name) for name in _MONO],
    )
    values = dict(_BOTH_MODES)
    for name, (light, dark) in _LIGHT_AND_DARK.items():
        values |= {name: light, f"{name}_dark": dark}
    return made.set(**values)


def style() -> str:
    """Return the style sheets for the page's <head>.

    Gradio's `css` parameter would repeat every rule with a prefix, media rules included.
    """
    sheets = [path.read_text(encoding="utf-8") for path in sorted((ASSETS / "ui").glob("*.css"))]
    return "<style>\n" + "\n".join(sheets) + "</style>"
