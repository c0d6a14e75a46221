"""The kinds of corruption, by family: noise, blur, weather, digital, and benign changes."""
