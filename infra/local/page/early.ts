// Before anything is drawn: the theme and the language that were chosen, so that nothing flashes.
// A classic script, so it may import nothing.
{
  const remembered = (name: string): string | null => {
    try {
      return localStorage.getItem(name);
    } catch {
      // Storage may be forbidden; then nothing is remembered.
      return null;
    }
  };
  const theme = remembered("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset["theme"] = theme;
  const wanted = remembered("language") ?? navigator.language;
  document.documentElement.lang = wanted.startsWith("zh") ? "zh-CN" : "en";
}
