"""How the page looks: wide and narrow, light and dark (Gradio marks the latter by ``.dark``)."""

CSS = """
.gradio-container { max-width: 1560px !important;
  --block-info-text-color: var(--body-text-color-subdued); }
.gradio-container button { font-family: var(--font); }
#header h1 { margin: 0; font-size: 1.7rem; }
#header p { margin: 2px 0 0; opacity: 0.72; }
#tasks .wrap { flex-direction: column; gap: 6px; }
#tasks label { width: 100%; align-items: flex-start; }
#tasks label input { margin-top: 3px; flex: none; }
#tasks label span { white-space: pre-line; display: block; font-size: 0.86rem; line-height: 1.4;
  overflow-wrap: anywhere; opacity: 0.9; font-weight: 400; }
#tasks label span::first-line { font-size: 0.98rem; font-weight: 600; }
#recording .file-preview a { pointer-events: none; text-decoration: none; color: inherit; }
.mteeg-note, .mteeg-error, .mteeg-warning {
  border-left: 4px solid #0072B2; border-radius: 4px; padding: 10px 14px; line-height: 1.45;
  background: var(--background-fill-secondary); overflow-wrap: anywhere;
}
.mteeg-error { border-color: #D55E00; }
.mteeg-warning { border-color: #E69F00; }
.mteeg-error h3, .mteeg-note h3 { margin: 0 0 4px; font-size: 1rem; }
.mteeg-small { opacity: 0.8; font-size: 0.9rem; line-height: 1.45; }
.mteeg-found { padding: 6px 14px; font-size: 0.9rem; margin-top: 6px; }
.mteeg-found ul { margin: 0; padding-left: 1.2em; }
.mteeg-room { height: 64px; }
.mteeg-small ul, .mteeg-note ul { margin: 4px 0 0; padding-left: 1.2em; }
.mteeg-facts { display: flex; flex-wrap: wrap; gap: 6px 22px; margin: 0; }
.mteeg-facts div { display: flex; flex-direction: column; }
.mteeg-facts dt { opacity: 0.72; font-size: 0.82rem; }
.mteeg-facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.mteeg-heading { margin: 6px 0 0; font-size: 1rem; }
.mteeg-answer { border-left: 4px solid #009E73; border-radius: 4px; padding: 10px 14px;
  background: var(--background-fill-secondary); line-height: 1.45; margin-bottom: 10px; }
.mteeg-answer p { margin: 6px 0 0; font-size: 0.92rem; }
.mteeg-answer .mteeg-headline { margin: 0 0 6px; font-size: 1.2rem; font-weight: 600; }
.mteeg-figure { margin: 14px 0 0; }
.mteeg-figure figcaption { font-size: 0.9rem; line-height: 1.45; opacity: 0.85; margin-top: 4px;
  overflow-wrap: anywhere; }
.mteeg-picture { overflow-x: auto; border-radius: 6px; border: 1px solid
  var(--border-color-primary); background: #fff; }
.mteeg-picture img { display: block; width: 100%; height: auto; }
.dark .mteeg-picture { background: #15181e; }
.mteeg-dark, .dark .mteeg-light { display: none; }
.dark .mteeg-dark { display: block; }
.mteeg-files { display: flex; flex-wrap: wrap; gap: 8px; }
.mteeg-files a { padding: 8px 14px; border-radius: 6px; font-weight: 600; font-size: 0.92rem;
  background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color);
  border: 1px solid var(--border-color-primary); text-decoration: none; }
@media (max-width: 700px) {
  .gradio-container { --block-info-text-size: 0.95rem; }
  .mteeg-picture img { width: 860px; max-width: none; }
  .mteeg-small, .mteeg-found, .mteeg-figure figcaption, .mteeg-answer p { font-size: 1rem; }
  .mteeg-facts dt { font-size: 0.92rem; }
  #tasks label span { font-size: 0.95rem; }
  #tasks label span::first-line { font-size: 1.05rem; }
}
"""
