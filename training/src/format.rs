//! Numbers as text.

/// Formats a value with five significant digits, in the shorter of the two notations.
pub fn number(value: f64) -> String {
    if value == 0.0 || (1e-3..1e5).contains(&value.abs()) {
        let digits = 5 - 1 - value.abs().log10().floor().clamp(-4.0, 4.0) as i32;
        format!("{value:.*}", if value == 0.0 { 1 } else { digits as usize })
    } else {
        format!("{value:.4e}")
    }
}
