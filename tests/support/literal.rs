//! Numbers in comments: a single one, or lists that are nested like the axes of a tensor.

use sonar_ir::Tensor;

/// A number (without axes) or a list of lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Literal {
    /// Extents of the brackets.
    pub shape: Vec<usize>,
    /// All numbers, in order.
    pub data: Vec<f32>,
}

impl Literal {
    /// Parses a literal at the start of a text; also returns the rest of the text.
    pub fn parse(text: &str) -> Result<(Literal, &str), String> {
        let text = text.trim_start();
        let Some(mut rest) = text.strip_prefix('[') else {
            let (word, rest) = text.split_at(text.find([' ', ',', '[', ']']).unwrap_or(text.len()));
            let number = word.parse().map_err(|_| format!("`{word}` is not a number"))?;
            return Ok((Literal { shape: Vec::new(), data: vec![number] }, rest));
        };
        let mut items: Vec<Literal> = Vec::new();
        loop {
            let (item, after) = Literal::parse(rest)?;
            items.push(item);
            let after = after.trim_start();
            if let Some(after) = after.strip_prefix(']') {
                return Ok((Literal::list(items)?, after));
            }
            rest = after.strip_prefix(',').ok_or_else(|| format!("expected `,` or `]` before `{after}`"))?;
        }
    }

    /// A list of literals of the same shape.
    fn list(items: Vec<Literal>) -> Result<Literal, String> {
        let inner = items.first().map(|item| item.shape.clone()).unwrap_or_default();
        if items.iter().any(|item| item.shape != inner) {
            return Err("the parts of a list differ in shape".to_string());
        }
        let shape = std::iter::once(items.len()).chain(inner).collect();
        Ok(Literal { shape, data: items.into_iter().flat_map(|item| item.data).collect() })
    }

    /// The tensor of this shape with these numbers. The literal may also be one flat list.
    pub fn tensor(&self, shape: &[usize]) -> Option<Tensor> {
        let count: usize = shape.iter().product();
        let fits = self.shape == shape || (self.shape.len() <= 1 && self.data.len() == count);
        fits.then(|| Tensor::new(shape.to_vec(), self.data.clone()))
    }
}

/// A number with seven digits; a negative zero keeps its sign.
pub fn show_number(number: f32) -> String {
    let rounded: f32 = format!("{number:.6e}").parse().unwrap_or(number);
    let text = format!("{rounded:?}");
    text.strip_suffix(".0").filter(|whole| *whole != "-0").unwrap_or(&text).to_string()
}

/// Numbers in brackets, nested by shape; without axes, the one number.
pub fn show(shape: &[usize], data: &[f32]) -> String {
    match shape {
        [] => show_number(data[0]),
        [extent, inner @ ..] => {
            let parts: Vec<String> = data.chunks(data.len() / extent).map(|part| show(inner, part)).collect();
            format!("[{}]", parts.join(", "))
        }
    }
}
